package vmtest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Program is an executable file that the guest runs. It must be linked
// statically, or against what the guest has. It has an empty disk to itself.
type Program struct {
	Name string // letters, digits and hyphens
	File string // on the host
	Args []string
}

// Result is how a program ended.
type Result struct {
	Name string
	Exit int // its exit code; -1 if the guest ended before it did
}

// Inside is set in the environment of a program that runs in the guest: to its
// disk, such as /dev/vdc.
const Inside = "PICLOUD_VMTEST"

// scratch is the size of a program's disk, in bytes. It is sparse.
const scratch = 8 << 30

// maxPrograms is how many disks there are letters for.
const maxPrograms = 20

// Run starts the guest, runs the programs at the same time and copies what
// they print to output, each line behind the program's name. An error means that the guest did not come up or did
// not end; a program that fails is a Result. When ctx ends, so does the guest.
func (g *Guest) Run(ctx context.Context, programs []Program, output io.Writer) ([]Result, error) {
	dir, err := os.MkdirTemp("", "picloud-vmtest-")
	if err != nil {
		return nil, fmt.Errorf("vmtest: run: %w", err)
	}
	defer os.RemoveAll(dir)
	results, err := g.run(ctx, dir, programs, output)
	if err != nil {
		kernel, _ := os.ReadFile(filepath.Join(dir, "kernel.log"))
		return results, fmt.Errorf("vmtest: run: %w\nkernel's last words:\n%s", err, kernel[max(0, len(kernel)-2048):])
	}
	return results, nil
}

func (g *Guest) run(ctx context.Context, dir string, programs []Program, output io.Writer) ([]Result, error) {
	// A line of this mark is ours and not a program's.
	if len(programs) > maxPrograms {
		return nil, fmt.Errorf("%d programs: want at most %d", len(programs), maxPrograms)
	}
	mark := "vmtest-" + rand.Text()
	tests := filepath.Join(dir, "tests")
	if err := fill(tests, mark, programs); err != nil {
		return nil, err
	}
	disks := []string{filepath.Join(g.dir, "disk"), filepath.Join(dir, "tests.img")}
	if err := makeDisk(ctx, disks[1], 1<<30, tests); err != nil {
		return nil, err
	}
	for _, p := range programs {
		disk := filepath.Join(dir, p.Name+".img")
		if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, scratch)); err != nil {
			return nil, err
		}
		disks = append(disks, disk)
	}
	args := []string{
		"-accel", "tcg,thread=multi", "-cpu", "max", "-m", "2048", "-smp", "2", "-nodefaults", "-display", "none", "-no-reboot",
		"-kernel", filepath.Join(g.dir, "vmlinuz"), "-initrd", filepath.Join(g.dir, "initrd"),
		"-append", "console=ttyS0 quiet panic=-1 root=/dev/vda rw net.ifnames=0 mitigations=off nokaslr init=/sbin/vmtest-init",
		"-serial", "file:" + filepath.Join(dir, "kernel.log"), "-chardev", "stdio,id=out,signal=off", "-serial", "chardev:out",
	}
	for _, disk := range disks {
		// Nothing is written to the files, so that the guest is fresh each time.
		args = append(args, "-drive", "if=virtio,format=raw,snapshot=on,cache=unsafe,file="+strings.ReplaceAll(disk, ",", ",,"))
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	cmd.WaitDelay = 5 * time.Second
	// A test that panics is not to leave its guest behind.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	results, finished := read(out, mark, programs, output)
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return results, context.Cause(ctx)
	case err != nil:
		return results, fmt.Errorf("%w: %s", err, complaints.String())
	case !finished:
		return results, errors.New("the guest stopped before all programs had run")
	}
	return results, nil
}

// fill makes the folder that becomes the guest's second disk.
func fill(dir, mark string, programs []Program) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	script := "exec >/dev/ttyS1 2>&1 </dev/null\nstty -F /dev/ttyS1 -opost\nip link set lo up\nexport HOME=/root\n"
	for i, p := range programs {
		data, err := os.ReadFile(p.File)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, p.Name), data, 0o755); err != nil {
			return err
		}
		line := fmt.Sprintf("%s=/dev/vd%c %s", Inside, 'c'+i, quote("/tests/"+p.Name))
		for _, a := range p.Args {
			line += " " + quote(a)
		}
		script += fmt.Sprintf("(cd /tmp; { %s 2>&1; echo $? > /tmp/%s.code; } | sed -u 's/^/%s: /'; echo %s %s $(cat /tmp/%s.code)) &\n",
			line, p.Name, p.Name, mark, p.Name, p.Name)
	}
	return os.WriteFile(filepath.Join(dir, "run"), []byte(script+"wait\necho "+mark+" end\n"), 0o755)
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// read copies the guest's output until it ends and picks out our own lines.
func read(from io.Reader, mark string, programs []Program, output io.Writer) (results []Result, finished bool) {
	for _, p := range programs {
		results = append(results, Result{p.Name, -1})
	}
	r := bufio.NewReader(from)
	for {
		line, err := r.ReadString('\n')
		words := strings.Fields(line)
		switch {
		case len(words) == 2 && words[0] == mark:
			finished = true
		case len(words) == 3 && words[0] == mark:
			for i := range results {
				if n, err := strconv.Atoi(words[2]); err == nil && results[i].Name == words[1] {
					results[i].Exit = n
				}
			}
		default:
			_, _ = io.WriteString(output, strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"))
			if strings.HasSuffix(line, "\n") {
				_, _ = io.WriteString(output, "\n")
			}
		}
		if err != nil {
			return results, finished
		}
	}
}
