package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"picloud/engine"
	"picloud/engine/config"
	"picloud/engine/daemon/doctor"
	"picloud/hw/link"
	"picloud/hw/poe"
	"picloud/hw/volume"
	"picloud/hw/volume/lvmthin"
	"picloud/netboot/rootfs/image"
)

// DoctorEnv is what the doctor looks at for a configuration, read from file,
// whether a service runs with it or not. Call done when it has.
func DoctorEnv(cfg *config.Config, file string) (env *doctor.Env, done func(), err error) {
	links, err := link.Open()
	if err != nil {
		return nil, nil, err
	}
	aside, err := os.MkdirTemp("", "picloud-doctor-")
	if err != nil {
		links.Close()
		return nil, nil, err
	}
	volumes := func(ctx context.Context) (volume.Driver, error) { return lookAtVolumes(ctx, cfg, aside) }
	env = doctorEnv(cfg, volumes)
	env.File, env.Links, env.Pis = file, links, cfg.Layout().Pis
	env.Service = doctor.ServiceAt(cfg.Console.Socket)
	env.NFS = func() (string, error) { return nfsFor(cfg, cfg.NFS.Driver) }
	env.Switch = func(c config.Switch, community string) (doctor.Switch, func(), error) {
		settings := poeConfig(c, cfg.Boot.Hold)
		if community != "" {
			settings.Community = poe.Secret(community)
		}
		driver, err := poe.New(settings)
		if err != nil {
			return nil, nil, err
		}
		return driver, func() { _ = driver.Close() }, nil
	}
	return env, func() {
		links.Close()
		_ = os.RemoveAll(aside)
	}, nil
}

func doctorEnv(cfg *config.Config, volumes func(context.Context) (volume.Driver, error)) *doctor.Env {
	return &doctor.Env{
		Config: cfg, Database: Database(cfg), Backups: BackupFolder(cfg),
		Pool: func(ctx context.Context) (volume.Pool, error) {
			driver, err := volumes(ctx)
			if err != nil {
				return volume.Pool{}, err
			}
			return driver.Pool(ctx)
		},
		Images: func(ctx context.Context) ([]doctor.Image, error) { return doctorImages(ctx, cfg, volumes) },
	}
}

// lookAtVolumes opens the volumes without making anything: those that are
// folders only where the service has made them, and those of LVM with an empty
// folder in the place of the state folder.
func lookAtVolumes(ctx context.Context, cfg *config.Config, aside string) (volume.Driver, error) {
	if v := &cfg.Volumes; v.Driver == config.VolumesLVM {
		return lvmthin.Open(ctx, aside, lvmthin.Options{Group: v.Group, Pool: v.Pool, NearlyFull: nearlyFull(cfg)})
	}
	_, err := os.Stat(filepath.Join(cfg.State, "volumes"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.ErrUnsupported
	}
	if err != nil {
		return nil, err
	}
	return openDriver(ctx, cfg, false, nil)
}

// nfsFor returns the NFS server that would be chosen, or why there is none.
func nfsFor(cfg *config.Config, wanted string) (string, error) {
	driver, err := chooseNFS(wanted, nfsDrivers)
	if err != nil {
		return "", err
	}
	switch own := cfg.Volumes.Driver == config.VolumesLVM; {
	case driver.name == config.NFSKernel && cfg.NFS.Port != standardNFS:
		return "", errKernelPort(cfg.NFS.Port)
	case driver.name == nfsGanesha && !own && !cfg.NFS.Shared:
		return "", errNotApart()
	}
	return driver.name, nil
}

// doctorImages lists the images that the configuration names and those that
// were added.
func doctorImages(ctx context.Context, cfg *config.Config, volumes func(context.Context) (volume.Driver, error)) ([]doctor.Image, error) {
	var have map[string]bool // nil: not known
	if driver, err := volumes(ctx); err == nil {
		list, err := driver.Images(ctx)
		if err != nil {
			return nil, err
		}
		have = make(map[string]bool, len(list))
		for _, i := range list {
			have[i.Name] = true
		}
	}
	whole := cfg.Volumes.Driver != config.VolumesLVM
	named := map[string]bool{}
	var images []doctor.Image
	for _, i := range cfg.Images {
		named[i.Name] = true
		if i.Path != "" {
			images = append(images, doctor.Image{Name: i.Name, Folder: i.Path, Whole: true, There: true})
			continue
		}
		dir := filepath.Join(imagesFolder(cfg.State), i.Name)
		_, err := os.Stat(dir)
		there := !errors.Is(err, fs.ErrNotExist) && (have == nil || have[i.Name])
		if i.Name == config.BuiltinImage && !there {
			continue // the service makes it
		}
		images = append(images, doctor.Image{Name: i.Name, Folder: dir, Whole: whole, There: there})
	}
	added, err := image.List(imagesFolder(cfg.State))
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	for _, i := range added {
		if !named[i.Name] && i.Source != "" && (have == nil || have[i.Name]) {
			images = append(images, doctor.Image{Name: i.Name, Folder: i.Path, Whole: whole, There: true})
		}
	}
	return images, nil
}

// When the service examines itself.
const (
	examineFirst = 20 * time.Second // after the start: then the switches have answered
	examineEvery = 5 * time.Minute
)

// examine looks for what is not as it should be, until ctx ends, and has it
// shown. A simulated rack is not examined: what is wrong with it is meant.
func (d *Daemon) examine(ctx context.Context) error {
	if !d.opts.Door {
		return nil
	}
	for wait := examineFirst; pause(ctx, wait); wait = examineEvery {
		if err := d.examineOnce(ctx); err != nil && ctx.Err() == nil {
			d.opts.Log.Error("the service is not examined", "err", err)
		}
	}
	return nil
}

func (d *Daemon) examineOnce(ctx context.Context) error {
	env, done, err := d.doctorEnv()
	if err != nil {
		return err
	}
	defer done()
	r := doctor.Examine(ctx, env, func(c doctor.Check) bool { return c.Service })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	seen := &engine.HealthSeen{}
	for _, f := range r.Findings {
		if f.Level > doctor.OK {
			seen.Findings = append(seen.Findings, f.Health())
		}
	}
	d.observe(engine.Observation{Time: time.Now(), Health: seen})
	return nil
}

// doctorEnv is what the service looks at: itself.
func (d *Daemon) doctorEnv() (env *doctor.Env, done func(), err error) {
	links, err := link.Open()
	if err != nil {
		return nil, nil, err
	}
	cfg := d.current.Load()
	env = doctorEnv(cfg, func(context.Context) (volume.Driver, error) { return d.volumes, nil })
	env.Links, env.Pis = links, knownPis(d.engine.Snapshot())
	env.Service, env.Inside = os.Getpid(), true
	env.NFS = func() (string, error) { return nfsFor(cfg, d.exports.name) }
	env.Switch = d.switches.ask
	return env, links.Close, nil
}

// knownPis are the places of a snapshot with the boards that are known there.
func knownPis(s *engine.Snapshot) []engine.Pi {
	pis := make([]engine.Pi, len(s.Pis))
	for i := range s.Pis {
		p := &s.Pis[i]
		pis[i] = engine.Pi{
			Name: p.Name, Segment: p.Segment, Model: p.Model, Serial: p.Serial, MAC: p.MAC,
			Life: p.Life, Server: p.Server, Image: p.Image,
		}
	}
	return pis
}

// ask returns the driver of a switch that runs. It does one thing at a time,
// so that nothing is asked beside a poll.
func (s *switches) ask(c config.Switch, _ string) (doctor.Switch, func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sw := s.running[c.Name]
	if sw == nil {
		return nil, nil, fmt.Errorf("switch %s: %w", c.Name, errNoSwitch)
	}
	return sw.driver, func() {}, nil
}
