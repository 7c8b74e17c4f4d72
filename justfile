# The recipes, each with what it does.
default:
    @just --list

# Build ./picloud
build:
    go build -trimpath -o picloud .

# The console on a simulated rack
demo *args:
    go run . demo {{args}}

# Everything that runs without root
test *args:
    go test {{args}} ./...

# The same under the race detector
race:
    go test -race ./...

# Real interfaces in network namespaces, and a real Debian that virtual Pis boot; installs what it needs; needs root
e2e: packages e2e-net e2e-vm

# Debian packages that the tests need
packages:
    .ci/packages

# Real interfaces in network namespaces; needs root
e2e-net *args:
    go test -tags netns -count=1 -timeout 20m {{args}} ./netboot/dhcp ./hw/link ./hw/sim/... ./engine/daemon/...

# A real Debian booted over the network by virtual Pis, and all that is done to roots; needs root
e2e-vm *args:
    go test -tags e2e -count=1 -p 1 -timeout 40m -v -run '^TestBoot$|^TestReal|^TestRescue' {{args}} ./hw/sim/virtualpi ./engine/daemon

# Tests that need Debian's kernel (LVM, nfsd, VLANs), in a virtual machine; installs what it needs; needs root
vmtest *args: packages
    go test -tags vmtest -count=1 -timeout 45m -v {{args}} ./hw/vmtest

# A real Debian for arm64 on QEMU's own Raspberry Pi 3B, booted, reimaged, undone, rescued and examined; its image takes ten minutes, once; needs root
e2e-pi *args:
    .ci/packages qemu-system-arm qemu-user-static binfmt-support arch-test
    go test -tags e2e,e2epi -run 'Pi3B$' -count=1 -p 1 -timeout 60m -v {{args}} ./hw/sim/virtualpi ./engine/daemon

# 1,000 orders at once on 900 simulated Pis, the service killed every few seconds; two minutes or more
storm *args:
    go test -tags storm -count=1 -timeout 30m -v -run '^TestOrderStorm$' {{args}} ./engine/daemon

# Debian 11, 12 and 13 with dhcpcd, NetworkManager, systemd-networkd and cloud-init, each set up to take the root's interface; needs root
e2e-releases *args: packages
    go test -tags e2e -run '^TestReleases$' -count=1 -timeout 60m -v {{args}} ./hw/sim/virtualpi

# The Debian package, in the folder packages
deb version="0.0.1":
    .ci/package {{version}} packages

# Install, upgrade, remove and purge it in a fresh Debian 12; needs root
deb-test: packages
    .ci/deb packages

# The same packages under systemd in a virtual machine, with a root of a Pi in use; needs root
deb-boot: deb-test
    .ci/deb-boot packages

# Fuzz one target: just fuzz ./netboot/dhcp FuzzDecide 1m
fuzz pkg target time="30s":
    go test -run '^$' -fuzz '^{{target}}$' -fuzztime {{time}} {{pkg}}

# Benchmarks
bench *args:
    go test -run '^$' -bench . -benchmem {{args}} ./...

# The service of 1,000 Pis with 50 consoles open: its processor time, memory and repaints; ten minutes
bench-consoles:
    go test -run '^$' -bench '^BenchmarkServiceConsoles$' -benchtime 1x -timeout 30m ./engine/daemon

# Rewrite the golden screens and the README's picture
golden:
    go test ./tui/... -update

# Format
fmt:
    gofmt -w .

# Vet and lint
lint:
    go vet ./...
    golangci-lint run ./...

# All that CI runs
ci:
    .ci/run
