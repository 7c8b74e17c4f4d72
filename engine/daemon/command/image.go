package command

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine/daemon"
	"picloud/netboot/rootfs/image"
)

// addImageCommands adds what works on files of this computer. list and show ask
// the service unless they are given a configuration.
func (p *Program) addImageCommands(g *cobra.Command) {
	g.AddCommand(p.imageAddCommand(), p.imageRemoveCommand())
	for name, offline := range map[string]func(ctx context.Context, path string, args []string, inJSON bool) error{
		"list": p.imageList, "show": p.imageShow,
	} {
		c := find(g, name)
		path := c.Flags().String("config", "", "ask no service, but look where this `file` says")
		local(c, func(ctx context.Context, args []string) error {
			if *path != "" {
				return offline(ctx, *path, args, asJSON(c))
			}
			words := append([]string{"image", name}, args...)
			if asJSON(c) {
				words = append(words, "--json")
			}
			if p.remote(ctx, words) != exitDone {
				return errQuiet
			}
			return nil
		})
		withJSON(c)
	}
}

func (p *Program) imageAddCommand() *cobra.Command {
	var o image.Options
	var path string
	var disk uint
	a := act{verb: "image-add"}
	var c *cobra.Command
	c = withJSON(local(&cobra.Command{
		Use: "add NAME FILE", Short: "unpack a disk image or tarball and make it boot over the network", Args: exactly("NAME", "FILE"),
	}, func(ctx context.Context, args []string) error {
		cfg, err := p.load(path)
		if err != nil {
			return err
		}
		o.Name, o.Source = args[0], args[1]
		o.Progress = p.progress("unpacking " + o.Name)
		var added daemon.AddedImage
		err = a.do(p, cfg, o.Name, func() (err error) {
			added, err = daemon.AddImage(ctx, cfg, o, int64(disk)*1e9)
			return err
		})
		if err != nil {
			return err
		}
		if asJSON(c) {
			return p.emit(unpackedJSON{schemaVersion, []filesJSON{filesOut(added.Info, added.Warnings)}})
		}
		return p.tellAdded(added)
	}))
	a.flags(c, false)
	configFlag(c, &path)
	f := c.Flags()
	f.StringVar(&o.SHA256, "sha256", "", "the `digest` that FILE must have")
	f.StringVar(&o.Boot, "boot", "", "a tarball `file` with the boot files, if FILE has none")
	f.StringVar(&o.BootSHA256, "boot-sha256", "", "its `digest`")
	f.UintVar(&disk, "disk-gb", 0, "with volumes on LVM: room for so many `GB` in the image, and so at least in each root (default: volumes.disk_gb, else 8.6)")
	return c
}

func (p *Program) tellAdded(added daemon.AddedImage) error {
	fmt.Fprintf(p.Out, "%s: %s, %s, %d files, %.1f MB; %d changes make it boot over the network\n",
		added.Name, added.Release.Pretty, added.Arch, added.Files, float64(added.Bytes)/1e6, len(added.Changes))
	for _, w := range added.Warnings {
		fmt.Fprintln(p.Out, "note:", w)
	}
	for _, l := range added.Lost {
		fmt.Fprintf(p.Out, "lost: %s of %d files, such as %s: %s\n", l.What, l.Count, l.Example, l.Why)
	}
	_, err := fmt.Fprintln(p.Out, "a running service takes it up at SIGHUP")
	return err
}

// progress prints per cent on a terminal, and nothing elsewhere.
func (p *Program) progress(what string) func(done, total int64) {
	if info, err := os.Stderr.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	last := int64(-1)
	return func(done, total int64) {
		if percent := done * 100 / max(total, 1); percent != last {
			last = percent
			fmt.Fprintf(p.Err, "\r%s %d %%", what, percent)
			if done >= total {
				fmt.Fprintln(p.Err)
			}
		}
	}
}

func (p *Program) imageRemoveCommand() *cobra.Command {
	var path string
	a := act{verb: "image-remove"}
	c := local(&cobra.Command{
		Use: "remove NAME", Short: "delete an image that no root was made from", Args: exactly("NAME"),
	}, func(ctx context.Context, args []string) error {
		cfg, err := p.load(path)
		if err != nil {
			return err
		}
		if err := a.confirm(p, fmt.Sprintf("delete the image %s?", args[0])); err != nil {
			return err
		}
		return a.do(p, cfg, args[0], func() error { return daemon.RemoveImage(ctx, cfg, args[0]) })
	})
	a.flags(c, true)
	configFlag(c, &path)
	return c
}

func (p *Program) imageList(ctx context.Context, path string, _ []string, inJSON bool) error {
	cfg, err := p.load(path)
	if err != nil {
		return err
	}
	list, err := daemon.Images(ctx, cfg)
	if err != nil {
		return err
	}
	if inJSON {
		out := unpackedJSON{schemaVersion, []filesJSON{}}
		for _, i := range list {
			out.Images = append(out.Images, filesOut(i, nil))
		}
		return p.emit(out)
	}
	w := tabwriter.NewWriter(p.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tARCH\tRELEASE\tMB\tADDED")
	for _, i := range list {
		added := "-"
		if !i.Added.IsZero() {
			added = i.Added.Format(time.DateOnly)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.0f\t%s\n", i.Name, i.Arch, i.Release.Pretty, float64(i.Bytes)/1e6, added)
	}
	return w.Flush()
}

func (p *Program) imageShow(ctx context.Context, path string, args []string, inJSON bool) error {
	cfg, err := p.load(path)
	if err != nil {
		return err
	}
	out := unpackedJSON{schemaVersion, []filesJSON{}}
	for _, name := range args {
		info, err := daemon.ImageNamed(ctx, cfg, name)
		if err != nil {
			return err
		}
		out.Images = append(out.Images, filesOut(info, nil))
		if !inJSON {
			p.tellImage(info)
		}
	}
	if inJSON {
		return p.emit(out)
	}
	return nil
}

func (p *Program) tellImage(i image.Info) {
	fmt.Fprintf(p.Out, "%s\n  system   %s, %s\n  size     %d files, %.1f MB\n", i.Name, i.Release.Pretty, i.Arch, i.Files, float64(i.Bytes)/1e6)
	if !i.Added.IsZero() {
		fmt.Fprintf(p.Out, "  added    %s from %s\n  sha256   %s\n", i.Added.Local().Format(time.DateTime), i.Source, i.SHA256)
	}
}
