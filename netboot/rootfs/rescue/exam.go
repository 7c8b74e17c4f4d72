package rescue

import "strings"

// examNeeded are the programs that the examination's /init runs: all are of
// packages that every Debian has, but iproute2.
var examNeeded = append([]program{
	{"bash", "bash"}, {"ip", "iproute2"}, {"mount", "mount"}, {"umount", "mount"}, {"cmp", "diffutils"},
}, of("coreutils", "cat head mkdir nproc od rm sha256sum sleep tail timeout uname")...)

// examModules tell the temperature and the voltage, and let the processor run as
// fast as it can.
var examModules = strings.Fields("bcm2835_thermal bcm2711_thermal raspberrypi_hwmon raspberrypi_cpufreq")

var examFolders = []ownFolder{
	{"dev", 0o755}, {"proc", 0o555}, {"run", 0o755}, {"sys", 0o555}, {"tmp", 0o1777}, {"usr", 0o755}, {"usr/bin", 0o755}, {"usr/sbin", 0o755},
}

var examEmbedded = []ownFile{
	{"init", "exam-init", 0o755},
	{"usr/lib/picloud/common", "common", 0o644},
	{"usr/lib/picloud/tell", "exam-tell", 0o755},
}
