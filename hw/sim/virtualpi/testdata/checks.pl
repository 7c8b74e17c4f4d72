# What programs expect of a root file system, tried on the Pi. Prints one line
# for each: its name, a tab, and "ok" or what is wrong.
use strict;
use warnings;
use Errno qw(EEXIST EWOULDBLOCK);
use Fcntl qw(:DEFAULT :flock :mode);
use POSIX ();

$| = 1;
my $dir = "/var/tmp/checks";
mkdir $dir, 0755 or die "mkdir $dir: $!";
chdir $dir or die;

sub check {
    my ($name, $code) = @_;
    my $why = eval { $code->(); "ok" } || $@;
    $why =~ s/\s+/ /g;
    print "$name\t$why\n";
}
sub put { my ($name, $text) = @_; open my $f, ">", $name or die "open $name: $!"; print $f $text; close $f or die "close $name: $!" }
sub get { my ($name) = @_; open my $f, "<", $name or die "open $name: $!"; local $/; my $t = <$f>; defined $t ? $t : "" }
sub want { my ($what, $got, $want) = @_; $got eq $want or die "$what is $got, want $want" }
sub mode { sprintf "%o", (stat $_[0])[2] & 07777 }

# child runs code in another process and returns its exit status.
sub child {
    my ($code) = @_;
    my $pid = fork // die "fork: $!";
    POSIX::_exit($code->()) if !$pid;
    waitpid $pid, 0;
    return $? >> 8;
}

check "unlink while open", sub {
    open my $f, "+>", "open" or die "open: $!";
    syswrite $f, "still here";
    unlink "open" or die "unlink: $!";
    -e "open" and die "the name is still there";
    sysseek $f, 0, 0;
    sysread $f, my $text, 100;
    want "content", $text, "still here";
    syswrite $f, ", and written to" or die "write: $!";
    close $f or die "close: $!";
    opendir my $d, "." or die;
    my @left = grep { /^\.nfs/ } readdir $d;
    @left and die "left behind: @left";
};
check "rename over open", sub {
    put "file", "old";
    open my $f, "<", "file" or die "open: $!";
    put "file.new", "new";
    rename "file.new", "file" or die "rename: $!";
    want "content by name", get("file"), "new";
    want "content of the open file", scalar(<$f>), "old";
};
check "hard link", sub {
    put "one", "1";
    link "one", "two" or die "link: $!";
    my @one = stat "one";
    my @two = stat "two";
    want "inode", $two[1], $one[1];
    want "links", $two[3], 2;
    put "two", "changed";
    want "content by the first name", get("one"), "changed";
    unlink "one" or die "unlink: $!";
    want "links", (stat "two")[3], 1;
};
check "symbolic link", sub {
    symlink "../checks/two", "pointer" or die "symlink: $!";
    want "target", readlink "pointer", "../checks/two";
    want "content", get("pointer"), "changed";
};
check "owner and mode", sub {
    put "owned", "";
    chown 1234, 5678, "owned" or die "chown: $!";
    chmod 0640, "owned" or die "chmod: $!";
    my @s = stat "owned";
    want "owner", "$s[4]:$s[5]", "1234:5678";
    want "mode", mode("owned"), "640";
};
check "set-uid", sub {
    system("cp", "/usr/bin/id", "id") == 0 or die "cp";
    chmod 04755, "id" or die "chmod: $!";
    want "mode", mode("id"), "4755";
    pipe my $r, my $w;
    child(sub {
        POSIX::setgid(65534); POSIX::setuid(65534);
        open STDOUT, ">&", $w;
        exec "./id", "-u";
    });
    close $w;
    my $uid = <$r> // "";
    chomp $uid;
    want "uid of nobody's program", $uid, "0";
};
check "permissions", sub {
    put "secret", "secret";
    chmod 0600, "secret";
    my $status = child(sub {
        POSIX::setgid(65534); POSIX::setuid(65534);
        return open(my $f, "<", "secret") ? 1 : 0;
    });
    want "nobody reading root's file", $status, 0;
};
check "device node", sub {
    system("mknod", "null", "c", "1", "3") == 0 or die "mknod";
    my @s = stat "null";
    S_ISCHR($s[2]) or die "no character device";
    want "device", $s[6], (1 << 8) + 3;
    put "null", "nowhere";
    want "size", -s "null" || 0, 0;
};
check "access list", sub {
    # setxattr(2) of what setfacl makes; where there are none, that must be said.
    my $number = {x86_64 => 188, aarch64 => 5}->{(POSIX::uname())[4]};
    my $list = pack "V(vvV)5", 2, 1, 6, -1, 2, 4, 1234, 4, 4, -1, 16, 4, -1, 32, 0, -1;
    put "listed", "";
    my ($file, $name) = ("listed", "system.posix_acl_access");
    syscall($number, $file, $name, $list, length $list, 0) == 0 or $! == Errno::EOPNOTSUPP() or die "setxattr: $!";
};
check "fifo", sub {
    POSIX::mkfifo("fifo", 0644) or die "mkfifo: $!";
    my $pid = fork // die;
    if (!$pid) { put "fifo", "through"; POSIX::_exit(0) }
    want "content", get("fifo"), "through";
    waitpid $pid, 0;
};
check "socket", sub {
    require Socket;
    socket my $s, Socket::PF_UNIX(), Socket::SOCK_STREAM(), 0 or die "socket: $!";
    bind $s, Socket::pack_sockaddr_un("socket") or die "bind: $!";
    listen $s, 1;
    socket my $c, Socket::PF_UNIX(), Socket::SOCK_STREAM(), 0 or die "socket: $!";
    connect $c, Socket::pack_sockaddr_un("socket") or die "connect: $!";
};
check "two times", sub {
    put "times", "";
    utime 1000000000, 1100000000, "times" or die "utime: $!";
    my @s = stat "times";
    want "access time", $s[8], 1000000000;
    want "modification time", $s[9], 1100000000;
    put "times", "now";
    my $age = abs(time - (stat "times")[9]);
    $age <= 10 or die "modification time is $age s off after writing";
};
check "flock", sub {
    put "lock", "";
    open my $f, "<", "lock" or die;
    flock $f, LOCK_EX | LOCK_NB or die "flock: $!";
    my $try = sub {
        open my $g, "<", "lock" or return 2;
        return 0 if flock $g, LOCK_EX | LOCK_NB;
        return $! == EWOULDBLOCK ? 1 : 3;
    };
    want "another process while locked", child($try), 1;
    flock $f, LOCK_UN or die "unlock: $!";
    want "another process afterwards", child($try), 0;
};
check "fcntl lock", sub {
    open my $f, "+<", "lock" or die;
    my $lock = pack "s s l! l! i", F_WRLCK, 0, 0, 0, 0;
    fcntl $f, F_SETLK, $lock or die "lock: $!";
    want "another process", child(sub {
        open my $g, "+<", "lock" or return 2;
        my $l = pack "s s l! l! i", F_WRLCK, 0, 0, 0, 0;
        return fcntl($g, F_SETLK, $l) ? 0 : 1;
    }), 1;
};
check "O_EXCL", sub {
    sysopen my $f, "once", O_CREAT | O_EXCL | O_WRONLY or die "create: $!";
    sysopen(my $g, "once", O_CREAT | O_EXCL | O_WRONLY) and die "created twice";
    $! == EEXIST or die "error is $!";
    my @pids;
    for (1 .. 4) {
        my $pid = fork // die;
        if (!$pid) { POSIX::_exit(sysopen(my $h, "race", O_CREAT | O_EXCL | O_WRONLY) ? 0 : 1) }
        push @pids, $pid;
    }
    my $won = 0;
    for (@pids) { waitpid $_, 0; $won++ if $? == 0 }
    want "winners of a race", $won, 1;
};
check "append and truncate", sub {
    put "log", "a" x 5000;
    open my $f, ">>", "log" or die;
    print $f "b" x 5000;
    close $f or die;
    want "size", -s "log", 10000;
    truncate "log", 7000 or die "truncate: $!";
    want "end", substr(get("log"), -3), "bbb";
};
check "folder", sub {
    mkdir "many" or die;
    put "many/$_", $_ for 1 .. 200;
    opendir my $d, "many" or die;
    my @names = sort { $a <=> $b } grep { !/^\./ } readdir $d;
    want "names", "@names", join " ", 1 .. 200;
    rmdir "many" and die "removed a folder that is not empty";
};
check "sync", sub { system("sync") == 0 or die "status $?" };
