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

# Real interfaces in network namespaces; needs root
e2e *args:
    go test -tags netns -count=1 {{args}} ./netboot/dhcp ./hw/link ./hw/sim/... ./engine/daemon/...

# Tests that need Debian's kernel (LVM, nfsd, VLANs), in a virtual machine; needs root
vmtest *args:
    go test -tags vmtest -count=1 -timeout 30m -v {{args}} ./hw/vmtest

# A real Debian booted over the network by a virtual Pi; needs root
e2e-vm *args:
    go test -tags e2e -count=1 -timeout 20m -v {{args}} ./hw/sim/virtualpi

# The same by QEMU's own Raspberry Pi 3B; its image takes ten minutes, once; needs root
e2e-pi *args:
    go test -tags e2e,e2epi -run '^TestBootPi3B$' -count=1 -timeout 60m -v {{args}} ./hw/sim/virtualpi

# Fuzz one target: just fuzz ./netboot/dhcp FuzzDecide 1m
fuzz pkg target time="30s":
    go test -run '^$' -fuzz '^{{target}}$' -fuzztime {{time}} {{pkg}}

# Benchmarks
bench *args:
    go test -run '^$' -bench . -benchmem {{args}} ./...

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
