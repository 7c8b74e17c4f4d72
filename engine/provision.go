package engine

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// The sizes that a disk may be ordered in, in GB.
const (
	diskStep    = 10
	largestDisk = 16_000 // ext4
	gigabyte    = 1_000_000_000
)

func checkDisk(gb int) error {
	if gb < diskStep || gb > largestDisk || gb%diskStep != 0 {
		return fmt.Errorf("%w: a disk of %d GB: want a multiple of %d, from %d to %d", ErrBadOrder, gb, diskStep, diskStep, largestDisk)
	}
	return nil
}

// maxLoginKeys bounds authorized_keys.
const maxLoginKeys = 100

func checkLoginKeys(keys []string) error {
	if len(keys) > maxLoginKeys {
		return fmt.Errorf("%w: %d SSH keys: at most %d", ErrBadOrder, len(keys), maxLoginKeys)
	}
	for i, k := range keys {
		if _, err := ParseOperatorKey(k); err != nil {
			return fmt.Errorf("%w: SSH key %d: %w", ErrBadOrder, i+1, err)
		}
	}
	return nil
}

// maxServerName is the longest label of a host name (RFC 1123, section 2.1).
const maxServerName = 63

func checkServerName(name string) error {
	ok := len(name) <= maxServerName && name != "" && !strings.HasPrefix(name, "-") && !strings.HasSuffix(name, "-")
	for _, c := range name {
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-')
	}
	if !ok {
		return fmt.Errorf("%w: a server's name has 1 to %d small letters, digits, and hyphens between them", ErrBadOrder, maxServerName)
	}
	return nil
}

// placeOrder gives a customer a Pi: it is theirs, with a name, a number and a job that
// provisions it, as soon as this is written down.
func (r *rack) placeOrder(cmd *ServerCommand) (ServerResult, error) {
	s, err := r.newServer(cmd)
	if err != nil {
		return ServerResult{}, err
	}
	p, err := r.pick(s.Wish, false)
	if err != nil {
		return ServerResult{}, err
	}
	s.Price, _ = r.rules.Price(p.Spec(), s.DiskGB)
	undo := r.takeBack(p, s.Name)
	p.Server, p.Life, p.Note, p.Power, p.Rescue = s.Name, LifeAllocated, "", true, false
	what := fmt.Sprintf("server %s for %s: %s, %d GB", s.Name, s.Account, s.Image, s.DiskGB)
	job := r.newJob(verbProvision, p, cmd.Actor.Name, 0, r.openAudit(verbProvision, r.serverAct(cmd, what), p, r.ids.Job+1))
	s.Task, s.Placed = job.ID, s.Created
	r.newRoot(job, s.Image, s.Disk)
	cmd.Server = s.Name
	r.saveServer(s)
	r.savePi(p)
	r.saveJob(job)
	r.notify(s, NoticeOrdered, job.ID, "it is ordered: "+what)
	res, err := r.written(cmd, ServerResult{Server: s.Name, Job: job.ID}, undo)
	if err == nil {
		r.logf(cmd.Actor.Name, p.Name, job.ID, "order: %s", what)
	}
	return res, err
}

// newServer checks an order and fills in what it leaves open.
func (r *rack) newServer(cmd *ServerCommand) (Server, error) {
	account := cmp.Or(cmd.Actor.Account, cmd.Account)
	if err := r.openAccount(account); err != nil {
		return Server{}, err
	}
	if acc, _ := r.accounts.ByName(account); acc.Limit > 0 && r.serversOf(account) >= acc.Limit {
		return Server{}, fmt.Errorf("%w servers: the account may have %d", ErrTooMany, acc.Limit)
	}
	now := time.Now()
	s := Server{
		Name: cmd.Server, Account: account, Owner: account, State: ServerProvisioning, Wish: cmd.Wish, Keys: cmd.Keys,
		Image: cmp.Or(cmd.Image, r.defaultImage()), DiskGB: cmp.Or(cmd.DiskGB, diskStep), Created: now,
	}
	if s.Name == "" {
		s.Name = r.madeUpName()
	}
	if err := cmp.Or(checkServerName(s.Name), checkDisk(s.DiskGB), checkLoginKeys(s.Keys)); err != nil {
		return Server{}, err
	}
	if !r.hasImage(s.Image) {
		return Server{}, fmt.Errorf("%w: there is no image %q", ErrBadOrder, printable(s.Image))
	}
	s.Disk = int64(s.DiskGB) * gigabyte
	if err := r.freeName(&s); err != nil {
		return Server{}, err
	}
	return s, r.giveNumber(&s)
}

// defaultImage is what an order without one gets, "" = there is none.
func (r *rack) defaultImage() string {
	if names := slices.Sorted(maps.Keys(r.images)); r.rules.Image == "" && len(names) > 0 {
		return names[0]
	}
	return r.rules.Image
}

// serversOf counts the servers that an account has or is about to have.
func (r *rack) serversOf(account string) int {
	n := 0
	for _, s := range r.servers {
		if s.Account == account && !s.State.Gone() {
			n++
		}
	}
	return n
}

func (r *rack) madeUpName() string {
	for {
		name := "pi-" + NewID()
		if _, taken := r.servers[name]; !taken {
			return name
		}
	}
}

// freeName says why a name cannot be had. The name and the number of a server
// that has ended are its account's own until its number is out of quarantine.
func (r *rack) freeName(s *Server) error {
	was, ok := r.servers[s.Name]
	_, pi := r.pis[PiName(s.Name)]
	if pi || ok && (!was.State.Ended() || was.Number != 0 && was.Account != s.Account) {
		return fmt.Errorf("%w: %s", ErrServerTaken, s.Name)
	}
	s.Number = was.Number
	return nil
}

// largestNumber bounds the ports of the proxy, and how far a search goes.
const largestNumber = 60_000

// lastPort is the largest TCP port.
const lastPort = 1<<16 - 1

// giveNumber gives a server its place in the pool of addresses and ports.
func (r *rack) giveNumber(s *Server) error {
	used := r.usedNumbers(s.Name)
	if s.Number == 0 || used[s.Number] {
		for s.Number = 1; used[s.Number]; s.Number++ {
		}
	}
	if s.Number > largestNumber || r.rules.Ports > 0 && r.rules.Ports+s.Number > lastPort {
		return fmt.Errorf("%w: all numbers are taken or in quarantine", ErrNoneFree)
	}
	if r.rules.Ports > 0 {
		s.SSHPort = r.rules.Ports + s.Number
	}
	return r.giveAddress(s)
}

// usedNumbers are those that another server has, or whose address or port another
// has: one of the configuration, or one from before the pool was changed.
func (r *rack) usedNumbers(but string) map[int]bool {
	used := make(map[int]bool, len(r.servers))
	for _, other := range r.servers {
		if other.Name == but || other.Account != "" && other.Number == 0 {
			continue
		}
		used[other.Number] = true
		used[r.rules.numberOf(other.Address.Addr())] = true
		if other.SSHPort != 0 {
			used[other.SSHPort-r.rules.Ports] = true
		}
	}
	return used
}

// giveAddress takes the address of that number from the pool. The pool's first
// address is left out: in a prefix it is the routers' (RFC 4291, section 2.6.1).
func (r *rack) giveAddress(s *Server) error {
	pool := r.rules.Pool
	if !pool.IsValid() {
		return nil
	}
	b := pool.Masked().Addr().As16()
	low := binary.BigEndian.Uint64(b[8:])
	binary.BigEndian.PutUint64(b[8:], low+uint64(s.Number))
	addr := netip.AddrFrom16(b)
	if !pool.Contains(addr) {
		return fmt.Errorf("%w: the pool of addresses %s has no more", ErrNoneFree, pool)
	}
	s.Address, s.Gateway = netip.PrefixFrom(addr, cmp.Or(r.rules.Bits, pool.Bits())), r.rules.Gateway
	return nil
}

// numberOf is the number that an address of the pool goes with, 0 = it is not of
// the pool.
func (r *Rules) numberOf(a netip.Addr) int {
	if !r.Pool.IsValid() || !r.Pool.Contains(a) {
		return 0
	}
	first, b := r.Pool.Masked().Addr().As16(), a.As16()
	n := binary.BigEndian.Uint64(b[8:]) - binary.BigEndian.Uint64(first[8:])
	if [8]byte(b[:8]) != [8]byte(first[:8]) || n > largestNumber {
		return 0
	}
	return int(n)
}

// pick chooses the Pi for an order: the lowest spec that the wish allows, on the
// switch with the most power to spare. spare lets it be one of those held back.
func (r *rack) pick(wish Spec, spare bool) (*piState, error) {
	var list []*piState
	count := map[Spec]int{}
	exists := false
	for _, p := range r.order {
		spec := p.Spec()
		if !spec.Meets(wish) || !r.forSale(spec) {
			continue
		}
		if exists = true; p.orderable() {
			list = append(list, p)
			count[spec]++
		}
	}
	if !exists {
		return nil, fmt.Errorf("%w: there is no board like that", ErrBadOrder)
	}
	for _, why := range []string{r.noRoom(), r.heldOrders(time.Now())} {
		if why != "" {
			return nil, fmt.Errorf("%w: %s", ErrNoneFree, why)
		}
	}
	list = slices.DeleteFunc(list, func(p *piState) bool { return !spare && count[p.Spec()] <= r.rules.Spares })
	if len(list) == 0 {
		return nil, ErrNoneFree
	}
	room := r.headRoom()
	return slices.MinFunc(list, func(a, b *piState) int {
		return cmp.Or(
			a.Spec().Compare(b.Spec()),
			cmp.Compare(room[b.Segment.Port.Switch], room[a.Segment.Port.Switch]),
			cmp.Compare(a.Name, b.Name),
		)
	}), nil
}

// forSale tells whether a board has a price. Where there are no plans at all
// nothing is charged.
func (r *rack) forSale(board Spec) bool {
	_, ok := r.rules.Price(board, 0)
	return ok || len(r.rules.Plans) == 0
}

// orderable tells whether an order can have the Pi. It is refuseSpare without the view
// and the reasons: every snapshot asks it of every Pi.
func (p *piState) orderable() bool {
	return !p.Rented() && p.Life == LifeReady && (p.MAC != MAC{}) && p.job == nil && !p.export.busy &&
		p.portSeen && !p.sw.silent() && p.stage != StageStalled
}

// headRoom is what each switch's supply has left, in mW: what its ports draw now,
// or may draw once they are on, is taken off.
func (r *rack) headRoom() map[string]int {
	room := make(map[string]int, len(r.switches))
	for _, s := range r.switches {
		room[s.Name] = s.reading.BudgetWatts * 1000
	}
	for _, p := range r.order {
		draws := p.port.Milliwatts
		if p.Power {
			draws = max(draws, boardInfos[p.Model].watts*1000)
		}
		room[p.Segment.Port.Switch] -= draws
	}
	return room
}

// defaultTries is on how many Pis a server is tried.
const defaultTries = 3

// tryAgain lets a provisioning go on when a Pi does not boot: at another Pi, or,
// where none is free, once more at the same. The Pi that is given up is broken,
// with the diagnosis: it gets no further order until somebody has looked.
func (r *rack) tryAgain(j *jobState, failed int) bool {
	if VerbName(j.Verb) != verbProvision || j.stop != "" || !faulty[j.Steps[failed].Name] || j.pi.gone || r.suspect(time.Now()) {
		return false
	}
	from := j.pi
	last := max(j.count(stepRest), 1+j.count(stepHandOver)) >= cmp.Or(r.rules.Tries, defaultTries)
	to, err := r.pick(r.servers[j.Server].Wish, true)
	if !from.sw.silent() && (last || err == nil) {
		r.blame(from, j.Steps[failed].Detail)
	}
	switch {
	case last:
		return false
	case err != nil:
		j.goOn(failed, here)
		r.logf(j.Actor, from.Name, j.ID, "%s is tried here once more: no other Pi is free", j.Server)
	default:
		j.to, j.To, to.job = to, to.Name, j
		j.goOn(failed, from.wayElsewhere(j))
		r.bump(to)
		r.logf(j.Actor, from.Name, j.ID, "%s goes to %s instead", j.Server, to.Name)
	}
	r.freeSlot(j)
	r.saveJob(j)
	return true
}

// goOn lets a job whose step failed go on with others in its stead.
func (j *jobState) goOn(failed int, names []string) {
	more := make([]Step, len(names))
	for i, name := range names {
		more[i] = Step{Name: name, State: StepWaiting}
	}
	j.Steps = slices.Insert(j.Steps, failed+1, more...)
	j.Step = failed + 1
	j.State, j.running = JobQueued, false
}

// wayElsewhere are the steps to another Pi; a server that has not moved in yet
// has the plan's own steps before it.
func (p *piState) wayElsewhere(j *jobState) []string {
	if p.Volume != j.Volume {
		return elsewhere[:slices.Index(elsewhere, stepRest)]
	}
	return elsewhere
}

// here are the steps of another try at the same Pi.
var here = []string{stepPowerOff, stepRest, stepPowerOn, stepBoot}

// elsewhere are the steps that take a server to another Pi when one does not
// boot: up to the hand-over they are that one's.
var elsewhere = []string{
	stepCut, stepWithdraw, stepHandOver, stepPowerOff, stepRest, stepPublish, stepPowerOn, stepBoot,
}

// faulty are the steps whose failure is the Pi's, its port's or its cable's.
var faulty = map[string]bool{stepPowerOff: true, stepPowerOn: true, stepBoot: true}

func (j *jobState) count(step string) int {
	n := 0
	for _, s := range j.Steps {
		if s.Name == step {
			n++
		}
	}
	return n
}

// When so many Pis in a row do not boot for orders, it is hardly the Pis: the
// file server, the image or the network may be what is broken. Then no further
// Pi is blamed, and orders are held for a while.
const (
	suspectAfter = 5
	suspectFor   = 10 * time.Minute
)

// bootFailures are the Pis in a row that did not boot for orders.
type bootFailures struct {
	count int
	last  time.Time
}

// suspect counts a Pi that did not boot, and tells whether it is not to blame.
func (r *rack) suspect(now time.Time) bool {
	f := &r.failures
	f.count++
	f.last = now
	if f.count == suspectAfter+1 {
		r.logf(SystemActor().Name, "", 0, "%s", r.heldOrders(now))
	}
	return f.count > suspectAfter
}

// heldOrders says why no order is taken now, "" = they are.
func (r *rack) heldOrders(now time.Time) string {
	if f := r.failures; f.count > suspectAfter && now.Sub(f.last) < suspectFor {
		return fmt.Sprintf("orders are held until %s: %d Pis in a row did not boot for one; look at the file server and the image",
			f.last.Add(suspectFor).Format("15:04"), f.count)
	}
	return ""
}

// blame marks a Pi as broken.
func (r *rack) blame(p *piState, why string) {
	p.Life, p.Note, p.Power = LifeBroken, printable(why), false
	r.savePi(p)
	r.logf(SystemActor().Name, p.Name, p.jobID(), "it is broken: %s", why)
}

// applyMoveIn makes the job's volume the Pi's root. What it had was nobody's: it
// must not come back for the customer.
func applyMoveIn(r *rack, p *piState, w *work, err error) {
	if err != nil || p.Volume == w.job.Volume {
		return
	}
	r.discardRoots(p)
	r.markVolume(w.job.Volume, VolumeCurrent)
	p.Volume, p.Image, p.Former, p.FormerImage = w.job.Volume, w.job.Image, "", ""
	p.Life = LifeDeploying
	r.savePi(p)
	if s, ok := r.servers[w.job.Server]; ok {
		s.State = ServerInitialising
		r.saveServer(s)
		r.notify(s, NoticeBooting, w.job.ID, "its root is made, and it boots")
	}
}

// applyGoLive ends a provisioning: from now on the server is its customer's, and
// costs.
func applyGoLive(r *rack, p *piState, w *work, err error) {
	s, ok := r.servers[w.job.Server]
	if err != nil || !ok || s.State == ServerLive {
		return
	}
	p.Life = LifeLive
	r.savePi(p)
	r.failures = bootFailures{}
	s.State, s.Live = ServerLive, time.Now()
	s.Price, _ = r.rules.Price(p.Spec(), s.DiskGB)
	r.saveServer(s)
	r.charge(LedgerStart, s, p.Spec(), "live")
	r.notify(s, NoticeLive, w.job.ID, fmt.Sprintf("it is live after %s", s.Live.Sub(s.Created).Round(time.Second)))
}

// notProvisioned undoes an order that could not be carried out: the name is
// free, the Pi is given back, nothing is charged.
func (r *rack) notProvisioned(j *jobState) {
	s, ok := r.servers[j.Server]
	if !ok || s.Task != j.ID || s.State.Ended() {
		return
	}
	s.State, s.Ended, s.Note = ServerFailed, time.Now(), j.Error
	r.saveServer(s)
	r.notify(s, NoticeFailed, j.ID, "the order could not be carried out") // why is staff's to know
	p := r.placeOf(s.Name)
	if p == nil || p.gone {
		return
	}
	p.Server = ""
	r.giveBack(p)
	r.startRelease(p, systemCommand("its order could not be carried out"))
}

// trimmed joins words without blanks around them.
func trimmed(s string) string { return strings.TrimSpace(s) }
