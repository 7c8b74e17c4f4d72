package command

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"picloud/engine/daemon"
	"picloud/store"
)

func (p *Program) backupCommand() *cobra.Command {
	var path string
	var c *cobra.Command
	c = withJSON(local(&cobra.Command{
		Use: "backup FILE", Short: "copy the database, also while the service runs", Args: exactly("FILE"),
		Long: "Copies the database as it is at one moment, and reads the copy through. The\nservice may run, and does so every day by itself (see [backup] in the\nconfiguration).",
	}, func(ctx context.Context, args []string) error {
		cfg, err := p.load(path)
		if err != nil {
			return err
		}
		copied, err := store.CopyFile(ctx, daemon.Database(cfg), args[0])
		if err != nil {
			return err
		}
		if asJSON(c) {
			return p.emit(backupJSON{schemaVersion, copyOut(copied)})
		}
		return p.tellCopy(copied)
	}))
	configFlag(c, &path)
	return c
}

func (p *Program) tellCopy(c store.Copy) error {
	_, err := fmt.Fprintf(p.Out, "%s: %.1f MB, %d Pis, %d servers, schema %d, read through: ok\n",
		c.Path, float64(c.Bytes)/1e6, c.Pis, c.Servers, c.Schema)
	return err
}

func (p *Program) restoreCommand() *cobra.Command {
	var path string
	a := act{verb: "restore"}
	var c *cobra.Command
	c = withJSON(local(&cobra.Command{
		Use: "restore [FILE]", Short: "put a copy of the database back, while the service is stopped", Args: cobra.MaximumNArgs(1),
		Long: "Puts a copy in the place of the database. The copy is read through before, and\nthe database that was there is moved aside, not deleted. Without FILE the newest\ngood backup is named, and nothing is done.",
	}, func(ctx context.Context, args []string) error {
		cfg, err := p.load(path)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return p.newestBackup(ctx, daemon.BackupFolder(cfg), asJSON(c))
		}
		var aside string
		err = a.do(p, cfg, filepath.Base(args[0]), func() (err error) {
			aside, err = store.Restore(ctx, filepath.Clean(args[0]), daemon.Database(cfg))
			return err
		})
		if err != nil {
			return err
		}
		if asJSON(c) {
			return p.emit(restoreJSON{Version: schemaVersion, Restored: true, Former: ptr(aside)})
		}
		if aside != "" {
			fmt.Fprintf(p.Out, "the database from before is %s\n", aside)
		}
		_, err = fmt.Fprintln(p.Out, "restored; start the service")
		return err
	}))
	a.flags(c, false)
	configFlag(c, &path)
	return c
}

func (p *Program) newestBackup(ctx context.Context, dir string, inJSON bool) error {
	c, err := store.NewestGood(ctx, dir)
	if err != nil {
		return err
	}
	if inJSON {
		newest := copyOut(c)
		return p.emit(restoreJSON{Version: schemaVersion, Newest: &newest})
	}
	_, err = fmt.Fprintf(p.Out, "newest good backup: %s, of %s, %d Pis, %d servers\n",
		c.Path, c.Taken.Local().Format(time.DateTime), c.Pis, c.Servers)
	return err
}
