package rescue

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"picloud/netboot/rootfs/netbootable"
)

func buildFrom(t testing.TB, image string) (Result, map[string]unpacked) {
	t.Helper()
	r, err := Build(t.Context(), Options{Image: image, Out: filepath.Join(t.TempDir(), "base")})
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(r.File)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != r.Bytes || len(b)%4 != 0 {
		t.Errorf("%d bytes, and it says %d", len(b), r.Bytes)
	}
	all := unpack(t, b)
	if len(all) != r.Entries {
		t.Errorf("%d entries, and it says %d", len(all), r.Entries)
	}
	return r, all
}

func TestBuild(t *testing.T) {
	dir := makeImage(t, debian())
	r, all := buildFrom(t, dir)
	for name, mode := range map[string]uint32{
		"init":                     unix.S_IFREG | 0o755,
		"bin":                      unix.S_IFLNK | 0o777,
		"usr/bin/dash":             unix.S_IFREG | 0o755,
		"etc/alternatives/vi":      unix.S_IFLNK | 0o777,
		"usr/bin/which":            unix.S_IFREG | 0o644,
		libDir + "libc.so.6":       unix.S_IFREG | 0o755,
		"dev/console":              unix.S_IFCHR | 0o600,
		"dev/null":                 unix.S_IFCHR | 0o666,
		"tmp":                      unix.S_IFDIR | 0o1777,
		"root":                     unix.S_IFDIR | 0o700,
		"mnt":                      unix.S_IFDIR | 0o755,
		"etc/shadow":               unix.S_IFREG | 0o600,
		"etc/mtab":                 unix.S_IFLNK | 0o777,
		"etc/services":             unix.S_IFREG | 0o644,
		"usr/lib/terminfo":         unix.S_IFDIR | 0o755,
		"usr/sbin/reboot":          unix.S_IFREG | 0o755,
		"usr/sbin/server-shell":    unix.S_IFREG | 0o755,
		"usr/lib/modules":          unix.S_IFDIR | 0o755,
		"usr/lib/terminfo/x":       unix.S_IFDIR | 0o755,
		"usr/sbin/insmod":          unix.S_IFLNK | 0o777,
		"usr/bin/kmod":             unix.S_IFREG | 0o755,
		"usr/lib/terminfo/x/xterm": unix.S_IFREG | 0o644,
	} {
		if got, ok := all[name]; !ok || got.mode != mode {
			t.Errorf("%s: mode %o, want %o", name, got.mode, mode)
		}
	}
	if d := all["dev/console"].rdev; d != unix.Mkdev(5, 1) {
		t.Errorf("/dev/console is device %#x", d)
	}
	// Nothing of the image decides who gets in or what is loaded first.
	for name, u := range all {
		if strings.Contains(u.data, "secret") || strings.Contains(u.data, "somebody") || strings.Contains(u.data, "home/pi") ||
			strings.Contains(name, "preload") || strings.Contains(name, "authorized_keys") || strings.Contains(u.data, "PasswordAuthentication yes") {
			t.Errorf("%s is the image's: %q", name, u.data)
		}
	}
	if !strings.Contains(all["etc/passwd"].data, "root:x:0:0:root:/root:/bin/bash\n") || !strings.Contains(all["etc/passwd"].data, "\nsshd:") {
		t.Errorf("passwd %q", all["etc/passwd"].data)
	}
	list := strings.Fields(all["usr/lib/modules/"+kernel+"/rescue.load"].data)
	if want := []string{"kernel/net/sunrpc/sunrpc.ko", "kernel/fs/lockd/lockd.ko", "kernel/fs/nfs/nfs.ko", "kernel/drivers/net/macb.ko", "kernel/drivers/net/phy/microchip.ko", "kernel/drivers/usb/lan78xx.ko"}; !slices.Equal(list, want) || r.Modules != len(want) {
		t.Errorf("%d modules %q, want %q", r.Modules, list, want)
	}
	for _, m := range list {
		if _, ok := all["usr/lib/modules/"+kernel+"/"+m]; !ok {
			t.Errorf("module %s is missing", m)
		}
	}
	if !slices.Equal(r.Kernels, []string{kernel}) || r.Boot.Kernel != "" || strings.Join(r.Boot.ConfigLines, "|") != "initramfs "+r.Boot.Initramfs+" followkernel" || !slices.Contains(r.Boot.Args, "rdinit=/init") {
		t.Errorf("%+v", r)
	}
	warned := strings.Join(r.Warnings, "\n")
	if !strings.Contains(warned, "there will be no less (install less") || strings.Contains(warned, "vim") || strings.Contains(warned, "bash") {
		t.Errorf("warnings: %s", warned)
	}
	again, _ := buildFrom(t, dir)
	if again.SHA256 != r.SHA256 {
		t.Errorf("the second time another: %s, %s", r.SHA256, again.SHA256)
	}
}

// The real cpio reads it, compressed and all.
func TestBuildRealTool(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	r, all := buildFrom(t, makeImage(t, debian()))
	out, err := exec.Command("sh", "-c", `gzip -dc "$1" 2>/dev/null | cpio -it --quiet`, "sh", r.File).Output()
	names := strings.Split(strings.TrimSpace(string(out)), "\n")
	if err != nil || !slices.Equal(names, slices.Sorted(maps.Keys(all))) {
		t.Errorf("%v\n%q", err, names)
	}
}

func TestBuildVariants(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(map[string]any)
		check  func(Result, map[string]unpacked) bool
	}{
		"not merged into usr": {
			func(m map[string]any) {
				for _, l := range []string{"bin", "sbin", "lib", "lib64"} {
					delete(m, l)
				}
				m["bin/mount"], m["bin/bash"] = m["usr/bin/mount"], m["usr/bin/bash"]
				delete(m, "usr/bin/mount")
				delete(m, "usr/bin/bash")
				m["lib64/ld-linux-x86-64.so.2"] = linkTo("/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
				m["bin/sh"] = linkTo("/usr/bin/dash")
				m["sbin/init"] = linkTo("/lib/systemd/systemd")
			},
			func(_ Result, all map[string]unpacked) bool {
				_, ok := all["bin/mount"]
				return ok && all["bin"].mode == unix.S_IFDIR|0o755 && strings.Contains(all["etc/passwd"].data, "/root:/bin/bash")
			},
		},
		"a shell only": {
			func(m map[string]any) { delete(m, "usr/bin/bash") },
			func(r Result, all map[string]unpacked) bool {
				return strings.Contains(all["etc/passwd"].data, "/root:/bin/sh") && strings.Contains(strings.Join(r.Warnings, "\n"), "no bash")
			},
		},
		"newer OpenSSH": {
			func(m map[string]any) {
				m["usr/sbin/sshd"] = object{interpreter: loader, needed: []string{"libc.so.6"}, text: "\x00/usr/lib/openssh/sshd-session\x00/usr/lib/openssh/sshd-auth\x00"}.bytes()
				m["usr/lib/openssh/sshd-session"] = object{interpreter: loader, needed: []string{"libcrypto.so.3"}}.bytes()
				m["usr/lib/openssh/sshd-auth"] = object{}.bytes()
			},
			func(_ Result, all map[string]unpacked) bool {
				_, session := all["usr/lib/openssh/sshd-session"]
				_, auth := all["usr/lib/openssh/sshd-auth"]
				return session && auth
			},
		},
		"a Pi's kernel": {
			func(m map[string]any) {
				m["lib/modules/"+kernel+"/modules.dep"] = ""
				m["lib/modules/"+kernel+"/modules.builtin"] = "kernel/fs/nfs/nfs.ko\n"
				delete(m, "usr/sbin/insmod")
			},
			func(r Result, all map[string]unpacked) bool {
				return r.Modules == 0 && len(r.Warnings) > 0 && !strings.Contains(strings.Join(r.Warnings, "\n"), "kernel")
			},
		},
		"no modules at all": {
			func(m map[string]any) {
				maps.DeleteFunc(m, func(p string, _ any) bool { return strings.HasPrefix(p, "lib/modules") })
			},
			func(r Result, _ map[string]unpacked) bool {
				return len(r.Kernels) == 0 && strings.Contains(strings.Join(r.Warnings, "\n"), "no kernel modules")
			},
		},
		"one kernel of two": {
			func(m map[string]any) { modules(m, "6.0-without", map[string]string{"kernel/net/x.ko": ""}) },
			func(r Result, _ map[string]unpacked) bool {
				return slices.Equal(r.Kernels, []string{kernel}) && strings.Contains(strings.Join(r.Warnings, "\n"), "kernel 6.0-without cannot mount NFS")
			},
		},
		"Debian's kernel": {
			func(m map[string]any) {
				delete(m, "boot/firmware/kernel8.img")
				m["boot/firmware/vmlinuz-"+kernel] = "kernel"
				modules(m, "5.10-old", map[string]string{"kernel/fs/nfs/nfs.ko": ""})
			},
			func(r Result, _ map[string]unpacked) bool {
				return r.Boot.Kernel == "vmlinuz-"+kernel && slices.Equal(r.Kernels, []string{kernel})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := debian()
			tt.change(m)
			if r, all := buildFrom(t, makeImage(t, m)); !tt.check(r, all) {
				t.Errorf("%+v\n%q\n%s", r, slices.Sorted(maps.Keys(all)), all["etc/passwd"].data)
			}
		})
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(map[string]any)
		limit  int64
		want   error
		says   string
	}{
		"no sshd":    {func(m map[string]any) { delete(m, "usr/sbin/sshd") }, 0, ErrMissing, "install openssh-server in the image"},
		"no shell":   {func(m map[string]any) { delete(m, "usr/bin/sh") }, 0, ErrMissing, "install dash"},
		"no mount":   {func(m map[string]any) { delete(m, "usr/bin/mount") }, 0, ErrMissing, "install mount"},
		"no insmod":  {func(m map[string]any) { delete(m, "usr/sbin/insmod") }, 0, ErrMissing, "install kmod"},
		"no library": {func(m map[string]any) { delete(m, libDir+"libcrypto.so.3") }, 0, os.ErrNotExist, "libcrypto.so.3"},
		"no helper of sshd": {func(m map[string]any) {
			m["usr/sbin/sshd"] = object{text: "/usr/lib/openssh/sshd-session\x00"}.bytes()
		}, 0, ErrMissing, "sshd-session"},
		"no NFS": {func(m map[string]any) {
			m["lib/modules/"+kernel+"/modules.dep"] = ""
		}, 0, ErrMissing, "kernel " + kernel + " cannot mount NFS"},
		"a module is missing": {func(m map[string]any) { delete(m, "lib/modules/"+kernel+"/kernel/net/sunrpc/sunrpc.ko") }, 0, os.ErrNotExist, "sunrpc"},
		"too large":           {func(map[string]any) {}, 1000, ErrTooLarge, ""},
		"no root":             {func(m map[string]any) { clear(m) }, 0, netbootable.ErrNotRoot, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := debian()
			tt.change(m)
			out := filepath.Join(t.TempDir(), "base")
			if err := os.WriteFile(out, []byte("former"), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Build(t.Context(), Options{Image: makeImage(t, m), Out: out, MaxBytes: tt.limit})
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, want %v, %q", err, tt.want, tt.says)
			}
			former, err := os.ReadFile(out)
			left, _ := os.ReadDir(filepath.Dir(out))
			if string(former) != "former" || len(left) != 1 {
				t.Errorf("left behind: %v, %q, %v", left, former, err)
			}
		})
	}
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(gone)
	if _, err := Build(ctx, Options{Image: makeImage(t, debian()), Out: filepath.Join(t.TempDir(), "base")}); !errors.Is(err, gone) {
		t.Errorf("%v, want %v", err, gone)
	}
	if _, err := Build(t.Context(), Options{Image: "/does/not/exist"}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Our own scripts can be read by their shells.
func TestScripts(t *testing.T) {
	for _, f := range append(slices.Clone(embedded), examEmbedded...) {
		b, err := files.ReadFile("files/" + f.from)
		if err != nil {
			t.Fatal(err)
		}
		if f.from == "sshd_config" {
			continue
		}
		shell := "sh"
		if bytes.HasPrefix(b, []byte("#!/bin/bash\n")) {
			shell = "bash"
		}
		cmd := exec.Command(shell, "-n")
		cmd.Stdin = bytes.NewReader(b)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", f.from, err, out)
		}
	}
	if len(Recipe(Rescue)) != 16 || Recipe("") != Recipe(Rescue) || Recipe(Examination) == Recipe(Rescue) {
		t.Errorf("recipes %q, %q", Recipe(Rescue), Recipe(Examination))
	}
}

func BenchmarkBuild(b *testing.B) {
	m := debian()
	m["usr/bin/rsync"] = object{text: strings.Repeat("four score and seven ", 1<<20)}.bytes()
	dir := makeImage(b, m)
	out := filepath.Join(b.TempDir(), "base")
	for b.Loop() {
		r, err := Build(b.Context(), Options{Image: dir, Out: out})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(r.Unpacked)
	}
}
