package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mistakes are made in small: old is replaced by new, or new is added below
// line 14. Each has the exact text that a person sees.
var mistakes = []struct{ name, old, new, want string }{
	{`text without quotes`, `name = "a3-001"`, `name = a3-001`, `
rack.toml:10:8: unexpected character U+0061 'a' at start of value
  try: text, durations and addresses stand in quotes: "…"
`},
	{`duration without quotes`, `rack = "A3"`, `rack = "A3"
ssh.every = 5s`, `
rack.toml:2:14: strings must be quoted
  try: text and durations stand in quotes: "5s"
`},
	{`quote not closed`, `address = "10.0.0.2:161"`, `address = "10.0.0.2:161`, `
rack.toml:5:24: basic strings cannot have new lines
  try: close the quotes on the same line
`},
	{`no equals sign`, `rack = "A3"`, `rack "A3"`, `
rack.toml:1:6: expected '=' after key
  try: key = value
`},
	{`no value`, `port = 1`, `port =`, `
rack.toml:14:7: unexpected character U+000A at start of value
  try: write a value behind the =
`},
	{`two settings on a line`, `port = 1`, `port = 1 power = true`, `
rack.toml:14:10: expected newline but got U+0070 'p'
  try: one setting a line; a comment starts with #
`},
	{`header not closed`, `[[segment]]`, `[[segment]`, `
rack.toml:9:10: expected ']]' to close array table name
  try: [table] for one, [[table]] for one of several
`},
	{`leading zero`, `port = 1`, `port = 01`, `
rack.toml:14:8: integers cannot have leading zeroes
  try: leave out the zeroes in front
`},
	{`two syntax errors`, "", `[ssh]
every = 5s
[tftp]
port 69
max_per_pi = "4"
`, `
rack.toml:16:10: strings must be quoted
  try: text and durations stand in quotes: "5s"
rack.toml:18:6: expected '=' after key
  try: key = value
rack.toml:19:14: tftp.max_per_pi: want a whole number, got text
  try: 4
`},
	{`list not closed`, "", `[[server]]
name = "shop"
owner = "me"
pi = "a3-001"
keys = ["x"
[ssh]
every = 5
`, `
rack.toml:20:1: expected ',' or ']' after array value
  try: put a comma between the elements and a ] behind the last
rack.toml:21:9: ssh.every: want text in quotes, got 5
  try: "5s"
`},
	{`NUL`, `"A3"`, "\"A\x003\"", `
rack.toml:1:10: basic strings cannot have control characters
  try: write it as \u and four hex digits, or leave it out
`},
	{`invalid UTF-8`, `"A3"`, "\"A\xff3\"", `
rack.toml:1:10: invalid UTF-8 character in basic string
  try: save the file as UTF-8
`},
	{`unknown key, near`, `interface =`, `interfaec =`, `
rack.toml:9:1: segment "a3-001": no interface
  try: interface = "eth0.101"
rack.toml:11:1: unknown key "interfaec" in [[segment]]
  try: did you mean interface?
`},
	{`unknown key, far`, `rack = "A3"`, `rack = "A3"
flavour = 1`, `
rack.toml:2:1: unknown key "flavour"
  try: keys: rack, state
`},
	{`key of another table`, "", `[ssh]
max_per_pi = 4
`, `
rack.toml:16:1: unknown key "max_per_pi" in [ssh]
  try: it belongs in [tftp]
`},
	{`key in [guard]`, "", `[guard]
free = "yes"
`, `
rack.toml:16:1: unknown key "free" in [guard]
  try: [guard.cycle] and the like have settings
`},
	{`unknown table, near`, "", `[dchp]
port = 67
`, `
rack.toml:15:1: unknown table "dchp"
  try: did you mean [dhcp]?
`},
	{`unknown table, far`, "", `[metrics]
`, `
rack.toml:15:1: unknown table "metrics"
  try: tables: boot, dhcp, tftp, nfs, volumes, guest, ssh, console, local, backup, http, orders, exam, api, guard.VERB, switch, switch.port, segment, server, image, plan
`},
	{`unknown verb`, "", `[guard.cylce]
`, `
rack.toml:15:1: unknown table "guard.cylce"
  try: did you mean [guard.cycle]?
`},
	{`unknown dotted key`, "", `[tftp]
max.per.pi = 4
`, `
rack.toml:16:1: unknown key "max" in [tftp]
  try: keys: port, max_transfers, max_per_pi, timeout
`},
	{`single brackets`, `[[segment]]`, `[segment]`, `
rack.toml:9:1: segment is written [[segment]]
  try: [[segment]]
`},
	{`double brackets`, "", `[[ssh]]
port = 22
`, `
rack.toml:15:1: ssh is written [ssh]
  try: [ssh]
`},
	{`number for a table`, `rack = "A3"`, `rack = "A3"
dhcp = 67`, `
rack.toml:2:1: dhcp is a table, got 67
  try: [dhcp]
`},
	{`numbers for tables`, `rack = "A3"`, `rack = "A3"
image = [1]`, `
rack.toml:2:1: image is a table, got 1
  try: [[image]]
`},
	{`key twice`, "", `[ssh]
port = 22
port = 23
`, `
rack.toml:17:1: ssh.port is set twice, first in line 16
  try: delete one of them
`},
	{`table twice`, "", `[ssh]
port = 22
[ssh]
every = "5s"
`, `
rack.toml:17:1: [ssh] is there twice, first in line 15
  try: move these settings to line 15
`},
	{`inline and header`, `rack = "A3"`, `rack = "A3"
ssh = {port = 22}
[ssh.x]`, `
rack.toml:3:1: unknown table "ssh.x"
  try: tables: boot, dhcp, tftp, nfs, volumes, guest, ssh, console, local, backup, http, orders, exam, api, guard.VERB, switch, switch.port, segment, server, image, plan
`},
	{`port override above any switch`, `rack = "A3"`, `rack = "A3"
[[switch.port]]
port = 1`, `
rack.toml:2:1: [[switch.port]] has no [[switch]] above it
  try: put it below the [[switch]] that it belongs to
`},
	{`quoted dotted key`, `rack = "A3"`, `rack = "A3"
"ssh.port" = 22`, `
rack.toml:2:1: unknown key "ssh.port"
  try: keys: rack, state
`},
	{`text for a number`, `port = 1`, `port = "1"`, `
rack.toml:14:8: segment "a3-001" port: want a whole number, got text
  try: 1
`},
	{`fraction`, `port = 1`, `port = 1.5`, `
rack.toml:14:8: segment "a3-001" port: want a whole number, got the number 1.5
  try: a number without quotes
`},
	{`number for text`, `name = "a3-001"`, `name = 3001`, `
rack.toml:10:8: segment name: want text in quotes, got 3001
  try: "3001"
`},
	{`number for a duration`, "", `[ssh]
every = 5
`, `
rack.toml:16:9: ssh.every: want text in quotes, got 5
  try: "5s"
`},
	{`text for a bool`, `port = 1`, `port = 1
power = "on"`, `
rack.toml:15:9: segment "a3-001" power: want true or false, got text
  try: true or false, without quotes
`},
	{`text for a list`, "", `[[server]]
name = "shop"
owner = "me"
pi = "a3-001"
keys = "x"
`, `
rack.toml:19:8: server "shop" keys: want a list of texts, got text
  try: ["one", "two"]
`},
	{`numbers in a list`, "", `[[server]]
name = "shop"
owner = "me"
pi = "a3-001"
keys = [
1,
"x", 1979-05-27]
`, `
rack.toml:20:1: server "shop" keys: want text in quotes, got 1
  try: "1"
rack.toml:21:1: server "shop" keys 1: ("x") is not a public key
  try: the one line of a .pub file, such as "ssh-ed25519 AAAA… name"
rack.toml:21:6: server "shop" keys: want text in quotes, got a date or time
  try: "1979-05-27"
`},
	{`number too large`, `port = 1`, `port = 99999999999999999999`, `
rack.toml:14:8: segment "a3-001" port: number "99999999999999999999" is out of range
  try: a number of at most ten digits
`},
	{`bad duration`, "", `[ssh]
every = "5"
`, `
rack.toml:16:9: ssh.every: "5" is not a duration
  try: a number with its unit (ms, s, m, h), such as "30s" or "1m30s"
`},
	{`days`, "", `[boot]
power = "1d"
`, `
rack.toml:16:9: boot.power: "1d" is not a duration
  try: a number with its unit (ms, s, m, h), such as "30s" or "1m30s"
`},
	{`negative duration`, "", `[boot]
power = "-1s"
`, `
rack.toml:16:9: boot.power: -1s is too short
  try: 0s to 24h
`},
	{`absurd duration`, "", `[boot]
power = "9000h"
`, `
rack.toml:16:9: boot.power: 9000h is too long
  try: 0s to 24h
`},
	{`overflowing duration`, "", `[boot]
power = "99999999999999h"
`, `
rack.toml:16:9: boot.power: "99999999999999h" is not a duration
  try: a number with its unit (ms, s, m, h), such as "30s" or "1m30s"
`},
	{`count-down of nothing`, "", `[guard.cycle]
delay = "0s"
`, `
rack.toml:16:9: guard.cycle.delay: 0s is too short
  try: 1s to 1m
`},
	{`unknown guard`, "", `[guard.cycle]
free = "countdwn"
`, `
rack.toml:16:8: guard.cycle.free: "countdwn" is not known
  try: "countdown"
`},
	{`unknown reply`, "", `[dhcp]
reply = "multicast"
`, `
rack.toml:16:9: dhcp.reply: "multicast" is not known
  try: "unicast"
`},
	{`empty reply`, "", `[dhcp]
reply = ""
`, `
rack.toml:16:9: [dhcp]: no reply
  try: reply = "broadcast"
`},
	{`port out of range`, "", `[dhcp]
port = 70000
`, `
rack.toml:16:8: dhcp.port: 70000 is too large
  try: a number from 0 to 65535
`},
	{`one UDP port for two`, "", `[tftp]
port = 67
`, `
rack.toml:16:8: tftp.port: 67 is dhcp.port too
  try: 69
`},
	{`one TCP port for two`, "", `[console]
listen = "0.0.0.0:2222"
[http]
listen = "0.0.0.0:2222"
`, `
rack.toml:18:10: http.listen: 0.0.0.0:2222 is console.listen too
  try: "127.0.0.1:9468"
`},
	{`nothing to listen on`, "", `[http]
listen = "239.0.0.1:80"
`, `
rack.toml:16:10: http.listen: 239.0.0.1:80 is nothing to listen on
  try: such as "0.0.0.0:2222"
`},
	{`unknown nfs driver`, "", `[nfs]
driver = "smb"
`, `
rack.toml:16:10: nfs.driver: "smb" is not known
  try: one of "auto", "kernel", "ganesha", "demo"
`},
	{`any port, without the demo's server`, "", `[nfs]
port = 0
`, `
rack.toml:16:8: nfs.port: 0 (any free port) works with driver = "demo" only
  try: 2049
`},
	{`another port for the kernel's server`, "", `[nfs]
driver = "kernel"
port = 3049
`, `
rack.toml:17:8: nfs.port: the kernel's server has port 2049, not 3049
  try: 2049, or driver = "ganesha"
`},
	{`exports around the state folder`, `rack = "A3"`, `rack = "A3"
state = "/srv/pi/state"`, `
rack.toml: nfs.path: /srv/pi and the state folder /srv/pi/state are in one another
  try: a folder that holds nothing else, such as "/srv/pi"
`},
	{`exports in the state folder`, "", `[nfs]
path = "/var/lib/picloud/nfs"
`, `
rack.toml:16:8: nfs.path: /var/lib/picloud/nfs and the state folder /var/lib/picloud are in one another
  try: a folder that holds nothing else, such as "/srv/pi"
`},
	{`lvm without its names`, "", `[volumes]
driver = "lvm"
pool = ""
`, `
rack.toml:15:1: [volumes]: no group, which driver = "lvm" needs
  try: group = "vg0"
rack.toml:17:8: [volumes]: no pool, which driver = "lvm" needs
  try: pool = "picloud"
`},
	{`lvm's names`, "", `[volumes]
driver = "lvm"
group = "--all"
pool = "a/b"
keep_days = -1
disk_gb = 20000
`, `
rack.toml:17:9: volumes.group: "--all" cannot be used
  try: a name of "vgs" or "lvs": letters, digits and . _ - between them
rack.toml:18:8: volumes.pool: "a/b" cannot be used
  try: a name of "vgs" or "lvs": letters, digits and . _ - between them
rack.toml:19:13: volumes.keep_days: -1 is too small
  try: a number from 0 to 3650
rack.toml:20:11: volumes.disk_gb: 20000 is too large
  try: a number from 0 to 16000
`},
	{`guests' resolvers`, "", `[guest]
resolvers = ["2001:db8::64", "fe80::53", "dns.example"]
time_zone = "../etc/passwd"
`, `
rack.toml:16:1: guest.resolvers: fe80::53 is not a unicast address
  try: such as "2001:db8::64"
rack.toml:16:42: guest.resolvers: "dns.example" is not an IP address
  try: an address such as "10.64.0.2"
rack.toml:17:13: guest.time_zone: "../etc/passwd" cannot be used
  try: a name such as "Europe/London"
`},
	{`too many resolvers`, "", `[guest]
resolvers = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
`, `
rack.toml:16:1: guest.resolvers: 4 are more than a resolver looks at
  try: leave the first three
`},
	{`resolvers without a list`, "", `[guest]
resolvers = "10.0.0.1"
`, `
rack.toml:16:13: guest.resolvers: want a list of texts, got text
  try: ["one", "two"]
`},
	{`servers' addresses`, "", `[[segment]]
name = "a3-002"
interface = "eth0.102"
address = "10.64.0.5/30"
switch = "sw1"
port = 2
[[server]]
name = "a"
owner = "x"
pi = "a3-001"
address = "2001:db8::2"
gateway = "fe80::1%eth0"
[[server]]
name = "b"
owner = "x"
pi = "a3-002"
address = "fe80::2/64"
gateway = "10.0.0.1"
[[server]]
name = "c"
owner = "x"
pi = "a3-002"
gateway = "fe80::1"
`, `
rack.toml:25:11: server "a" address: "2001:db8::2" has no length of its prefix
  try: "2001:db8::2/64"
rack.toml:26:11: server "a" gateway: fe80::1%eth0 is not a unicast IPv6 address without a zone
  try: "fe80::1", or an address of the server's own prefix
rack.toml:31:11: server "b" address: fe80::2/64 is not a public IPv6 address
  try: a unicast IPv6 address with the length of its prefix, such as "2001:db8:0:1::2/64"
rack.toml:32:11: server "b" gateway: 10.0.0.1 is not a unicast IPv6 address without a zone
  try: "fe80::1", or an address of the server's own prefix
rack.toml:36:6: server "c": Pi a3-002 is also that of server "b" (line 30)
  try: give each its own
rack.toml:37:11: server "c" gateway: there is no address that it would be for
  try: address = "2001:db8:0:1::2/64"
`},
	{`servers' addresses, of one another`, "", `[[segment]]
name = "a3-002"
interface = "eth0.102"
address = "10.64.0.5/30"
switch = "sw1"
port = 2
[[segment]]
name = "a3-003"
interface = "eth0.103"
address = "10.64.0.9/30"
switch = "sw1"
port = 3
[[server]]
name = "a"
owner = "x"
pi = "a3-001"
address = "2001:db8::2/64"
gateway = "2001:db8::2"
[[server]]
name = "b"
owner = "x"
pi = "a3-002"
address = "2001:db8::2/48"
gateway = "2001:db9::1"
[[server]]
name = "c"
owner = "x"
pi = "a3-003"
address = "2001:db8:1::/64"
`, `
rack.toml:32:11: server "a" gateway: 2001:db8::2 is the server's own address
  try: "fe80::1"
rack.toml:37:11: server "b": address 2001:db8::2 is also that of server "a" (line 31)
  try: give each its own
rack.toml:38:11: server "b" gateway: 2001:db9::1 is neither link-local nor within 2001:db8::/48
  try: "fe80::1"
rack.toml:43:11: server "c" address: 2001:db8:1::/64 is the address of every router on the prefix
  try: "2001:db8:1::1/64"
`},
	{`export path`, "", `[nfs]
path = "/srv/my pis,rw"
`, `
rack.toml:16:8: nfs.path: "/srv/my pis,rw" cannot be used
  try: letters, digits and . _ - between slashes, such as "/srv/pi"
`},
	{`export path climbs`, "", `[nfs]
path = "/srv/../etc"
`, `
rack.toml:16:8: nfs.path: "/srv/../etc" cannot be used
  try: letters, digits and . _ - between slashes, such as "/srv/pi"
`},
	{`relative state`, `rack = "A3"`, `rack = "A3"
state = "data"`, `
rack.toml:2:9: state: "data" is not a whole path
  try: "/data"
`},
	{`NUL in a path`, `rack = "A3"`, `rack = "A3"
state = "/data\u0000"`, `
rack.toml:2:9: state: "/data\x00" is not a path
  try: such as "/srv/picloud"
`},
	{`untidy path`, `/etc/picloud/sw1`, `/etc//picloud/sw1`, `
rack.toml:7:15: switch "sw1" credentials: "/etc//picloud/sw1.secret" is not in its shortest form
  try: "/etc/picloud/sw1.secret"
`},
	{`rack with a space`, `"A3"`, `"A 3"`, `
rack.toml:1:8: rack: "A 3" cannot be used
  try: letters, digits and . _ - between them, at most 63
`},
	{`empty rack`, `"A3"`, `""`, `
rack.toml:1:8: no rack
  try: rack = "A3"
`},
	{`no rack`, `rack = "A3"
`, ``, `
rack.toml: no rack
  try: rack = "A3"
`},
	{`no address`, `address = "10.64.0.1/30"
`, ``, `
rack.toml:9:1: segment "a3-001": no address
  try: address = "10.64.0.1/30"
`},
	{`no credentials`, `credentials = "/etc/picloud/sw1.secret"
`, ``, `
rack.toml:3:1: switch "sw1": no credentials
  try: credentials = "/etc/picloud/sw1.secret"
`},
	{`no name`, `name = "a3-001"
`, ``, `
rack.toml:9:1: segment: no name
  try: name = "a3-001"
`},
	{`unknown profile`, `"rfc3621"`, `"cisco"`, `
rack.toml:6:11: switch "sw1" profile: "cisco" is not known
  try: one of "rfc3621", "cisco-ios"
`},
	{`snmp version`, `profile =`, `version = "2"
profile =`, `
rack.toml:6:11: switch "sw1" version: "2" is not known
  try: "2c"
`},
	{`host name as address`, `"10.0.0.2:161"`, `"sw1.example:161"`, `
rack.toml:5:11: switch "sw1" address: "sw1.example:161" is not an address with a port
  try: an IP address with its port, such as "10.0.0.2:161"; names are not looked up
`},
	{`no port of an address`, `"10.0.0.2:161"`, `"10.0.0.2:0"`, `
rack.toml:5:11: switch "sw1" address: 10.0.0.2:0 is no host's address
  try: such as "10.0.0.2:161"
`},
	{`switch twice`, "", `[[switch]]
name = "sw1"
address = "10.0.0.2:161"
profile = "rfc3621"
credentials = "/x"
`, `
rack.toml:16:8: switch "sw1": the name is also that of switch "sw1" (line 4)
  try: give each its own
rack.toml:17:11: switch "sw1": address 10.0.0.2:161 is also that of switch "sw1" (line 5)
  try: give each its own
`},
	{`slash in a name`, "", `[[switch]]
name = "sw/2"
address = "10.0.0.3:161"
profile = "rfc3621"
credentials = "/x"
`, `
rack.toml:16:8: switch "sw/2" name: "sw/2" cannot be used
  try: letters, digits and . _ - between them, at most 63
`},
	{`override beyond`, `
[[segment]]`, `[[switch.port]]
port = 49
index = 1

[[segment]]`, `
rack.toml:9:8: switch.port port: 49 is beyond the 48 ports of switch "sw1"
  try: 1 to 48, or ports = 49 for that switch
`},
	{`override twice`, `
[[segment]]`, `[[switch.port]]
port = 4
index = 1
[[switch.port]]
port = 4

[[segment]]`, `
rack.toml:12:8: switch.port 4: the port is also that of switch.port 4 (line 9)
  try: give each its own
`},
	{`override of nothing`, `
[[segment]]`, `[[switch.port]]
index = 1

[[segment]]`, `
rack.toml:8:1: switch.port: no port
  try: port = 1
`},
	{`unknown switch`, `switch = "sw1"`, `switch = "sw2"`, `
rack.toml:13:10: segment "a3-001" switch: there is no [[switch]] "sw2"
  try: "sw1"
`},
	{`reference to a switch with a bad name`, `name = "sw1"`, `name = 1`, `
rack.toml:4:8: switch name: want text in quotes, got 1
  try: "1"
`},
	{`port beyond`, `port = 1`, `port = 49`, `
rack.toml:14:8: segment "a3-001" port: 49 is beyond the 48 ports of switch "sw1"
  try: 1 to 48, or ports = 49 for that switch
`},
	{`port 0`, `port = 1`, `port = 0`, `
rack.toml:14:8: segment "a3-001": no port
  try: port = 1
`},
	{`negative port`, `port = 1`, `port = -1`, `
rack.toml:14:8: segment "a3-001" port: -1 is too small
  try: a number from 1 to 1024
`},
	{`upper case`, `"a3-001"`, `"A3_001"`, `
rack.toml:10:8: segment "A3_001" name: "A3_001" cannot be a host name
  try: "a3-001"
`},
	{`long name`, `"a3-001"`, `"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`, `
rack.toml:10:8: segment "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…" name: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…" cannot be a host name
  try: lower-case letters, digits and hyphens, at most 63
`},
	{`long interface`, `"eth0.101"`, `"enp0s31f6.vlan101"`, `
rack.toml:11:13: segment "a3-001" interface: "enp0s31f6.vlan101" cannot be used
  try: a name of "ip link", such as "eth0.101", at most 15 characters
`},
	{`address without mask`, `"10.64.0.1/30"`, `"10.64.0.1"`, `
rack.toml:12:11: segment "a3-001" address: "10.64.0.1" is not an address with a mask
  try: the server's address with its mask, such as "10.64.0.1/30"
`},
	{`IPv6`, `"10.64.0.1/30"`, `"fd00::1/64"`, `
rack.toml:12:11: segment "a3-001" address: fd00::1/64 is not IPv4
  try: an IPv4 address: the boot ROMs know no other
`},
	{`no room`, `"10.64.0.1/30"`, `"10.64.0.1/31"`, `
rack.toml:12:11: segment "a3-001" address: 10.64.0.1/31 has no room for a server and a Pi
  try: a /30, such as "10.64.0.1/30"
`},
	{`network address`, `"10.64.0.1/30"`, `"10.64.0.0/30"`, `
rack.toml:12:11: segment "a3-001" address: 10.64.0.0 is the address of the network 10.64.0.0/30 itself
  try: "10.64.0.1/30"
`},
	{`broadcast address`, `"10.64.0.1/30"`, `"10.64.0.3/30"`, `
rack.toml:12:11: segment "a3-001" address: 10.64.0.3 is the broadcast address of 10.64.0.0/30
  try: "10.64.0.1/30"
`},
	{`pi_address outside`, `port = 1`, `port = 1
pi_address = "10.64.0.5"`, `
rack.toml:15:14: segment "a3-001" pi_address: 10.64.0.5 is outside 10.64.0.0/30
  try: "10.64.0.2"
`},
	{`pi_address is the server`, `port = 1`, `port = 1
pi_address = "10.64.0.1"`, `
rack.toml:15:14: segment "a3-001" pi_address: 10.64.0.1 is the server's own address
  try: "10.64.0.2"
`},
	{`pi_address is broadcast`, `port = 1`, `port = 1
pi_address = "10.64.0.3"`, `
rack.toml:15:14: segment "a3-001" pi_address: 10.64.0.3 is the broadcast address of 10.64.0.0/30
  try: "10.64.0.2"
`},
	{`pi_address needed`, `"10.64.0.1/30"`, `"10.64.0.1/24"`, `
rack.toml:9:1: segment "a3-001": no pi_address, and 10.64.0.0/24 has room for several
  try: pi_address = "10.64.0.2", or a /30
`},
	{`segment twice`, "", `[[segment]]
name = "a3-001"
interface = "eth0.102"
address = "10.64.0.5/30"
switch = "sw1"
port = 2
`, `
rack.toml:16:8: segment "a3-001": the name is also that of segment "a3-001" (line 10)
  try: give each its own
`},
	{`Pi twice`, "", `[[segment]]
name = "a3-002"
interface = "eth0.102"
address = "10.64.0.5/30"
switch = "sw1"
port = 2
pi = "a3-001"
`, `
rack.toml:21:6: segment "a3-002" pi: the Pi's name a3-001 is also that of segment "a3-001" pi (line 9)
  try: give each its own
`},
	{`interface twice`, "", `[[segment]]
name = "a3-002"
interface = "eth0.101"
address = "10.64.0.5/30"
switch = "sw1"
port = 2
`, `
rack.toml:17:13: segment "a3-002": interface eth0.101 is also that of segment "a3-001" (line 11)
  try: give each its own
`},
	{`switch port twice`, "", `[[segment]]
name = "a3-002"
interface = "eth0.102"
address = "10.64.0.5/30"
switch = "sw1"
port = 1
`, `
rack.toml:20:8: segment "a3-002": switch port sw1/1 is also that of segment "a3-001" (line 14)
  try: give each its own
`},
	{`address twice`, "", `[[segment]]
name = "a3-002"
interface = "eth0.102"
address = "10.64.0.1/30"
switch = "sw1"
port = 2
`, `
rack.toml:18:11: segment "a3-002" address: 10.64.0.0/30 overlaps 10.64.0.0/30 of segment "a3-001" (line 12)
  try: give each segment a network of its own
`},
	{`overlap`, "", `[[segment]]
name = "a3-002"
interface = "eth0.102"
address = "10.64.0.9/24"
switch = "sw1"
port = 2
pi_address = "10.64.0.10"
`, `
rack.toml:18:11: segment "a3-002" address: 10.64.0.0/24 overlaps 10.64.0.0/30 of segment "a3-001" (line 12)
  try: give each segment a network of its own
`},
	{`board twice`, "", `[[segment]]
name = "a3-002"
interface = "eth0.102"
address = "10.64.0.5/30"
switch = "sw1"
port = 2
mac = "b8:27:eb:00:00:01"
serial = "00000001"
[[segment]]
name = "a3-003"
interface = "eth0.103"
address = "10.64.0.9/30"
switch = "sw1"
port = 3
mac = "B8:27:EB:00:00:01"
serial = "00000001"
`, `
rack.toml:29:7: segment "a3-003": MAC b8:27:eb:00:00:01 is also that of segment "a3-002" (line 21)
  try: give each its own
rack.toml:30:10: segment "a3-003": serial 00000001 is also that of segment "a3-002" (line 22)
  try: give each its own
`},
	{`bad mac`, `port = 1`, `port = 1
mac = "b8:27:eb"`, `
rack.toml:15:7: segment "a3-001" mac: "b8:27:eb" is not a MAC address
  try: six bytes such as "b8:27:eb:12:34:56"
`},
	{`group mac`, `port = 1`, `port = 1
mac = "01:00:5e:00:00:01"`, `
rack.toml:15:7: segment "a3-001" mac: 01:00:5e:00:00:01 is a group address
  try: the board's own address
`},
	{`bad serial`, `port = 1`, `port = 1
serial = "10000000abcdef12"`, `
rack.toml:15:10: segment "a3-001" serial: "10000000abcdef12" is not 8 hex digits
  try: the last 8 hex digits of Serial in the Pi's /proc/cpuinfo
`},
	{`unknown model`, `port = 1`, `port = 1
model = "4b"`, `
rack.toml:15:9: segment "a3-001" model: "4b" is not known
  try: "4B"
`},
	{`life of the engine`, `port = 1`, `port = 1
life = "deploying"`, `
rack.toml:15:8: segment "a3-001" life: "deploying" is not known
  try: one of "new", "ready", "broken"
`},
	{`unknown image`, `port = 1`, `port = 1
image = "trixie"`, `
rack.toml:15:9: segment "a3-001" image: there is no [[image]] "trixie"
  try: add it, or name one that is there
`},
	{`server without a Pi`, "", `[[server]]
name = "shop"
owner = "me"
`, `
rack.toml:15:1: server "shop": no pi
  try: pi = "a3-001"
`},
	{`server on no Pi`, "", `[[server]]
name = "shop"
owner = "me"
pi = "a3-01"
`, `
rack.toml:18:6: server "shop" pi: there is no Pi "a3-01"
  try: "a3-001"
`},
	{`two servers on a Pi`, "", `[[server]]
name = "shop"
owner = "me"
pi = "a3-001"
[[server]]
name = "shop2"
owner = "me"
pi = "a3-001"
`, `
rack.toml:22:6: server "shop2": Pi a3-001 is also that of server "shop" (line 18)
  try: give each its own
`},
	{`server twice`, "", `[[server]]
name = "shop"
owner = "me"
pi = "a3-001"
[[server]]
name = "shop"
owner = "me"
pi = "a3-001"
`, `
rack.toml:20:8: server "shop": the name is also that of server "shop" (line 16)
  try: give each its own
rack.toml:22:6: server "shop": Pi a3-001 is also that of server "shop" (line 18)
  try: give each its own
`},
	{`owner with an escape`, "", `[[server]]
name = "shop"
owner = "me\u001b[2J"
pi = "a3-001"
`, `
rack.toml:17:9: server "shop" owner: "me\x1b[2J" has a character that cannot be printed
  try: letters, digits, signs and spaces
`},
	{`bad keys`, "", `[[server]]
name = "shop"
owner = "me"
pi = "a3-001"
keys = ["hello",
 "ssh-ed25519 AAAA", "ssh-rsa\nx"]
`, `
rack.toml:19:9: server "shop" keys 1: ("hello") is not a public key
  try: the one line of a .pub file, such as "ssh-ed25519 AAAA… name"
rack.toml:20:2: server "shop" keys 2: is cut off or not a key of the kind ssh-ed25519
  try: the one line of a .pub file, such as "ssh-ed25519 AAAA… name"
rack.toml:20:22: server "shop" keys 3: is not one line
  try: the one line of a .pub file, such as "ssh-ed25519 AAAA… name"
`},
	{`built-in with a path`, "", `[[image]]
name = "builtin"
path = "/srv"
`, `
rack.toml:17:8: image "builtin" path: the built-in image has no folder
  try: give an image of your own another name
`},
	{`image twice`, "", `[[image]]
name = "builtin"
[[image]]
name = "builtin"
`, `
rack.toml:18:8: image "builtin": the name is also that of image "builtin" (line 16)
  try: give each its own
`},
	{`image name climbs`, "", `[[image]]
name = "../etc"
path = "/srv/x"
`, `
rack.toml:16:8: image "../etc" name: "../etc" cannot be used
  try: lower-case letters, digits and . _ - between them, at most 63
`},
	{`dotted keys and header`, "rack = \"A3\"", "rack = \"A3\"\nssh.port = 22\n[ssh]\nevery = \"4s\"", `
rack.toml:3:2: table ssh already exists as defined by a dotted key
  try: write each table in one way: [table], table.key or table = {}
`},
	{`Windows line ends and a mistake`, "port = 1", "port = 1\r\npower = 1\r", `
rack.toml:15:9: segment "a3-001" power: want true or false, got 1
  try: true or false, without quotes
`},
	{`network nearly whole`, `"10.64.0.1/30"`, `"10.64.0.1/4"`, `
rack.toml:12:11: segment "a3-001" address: 10.64.0.1/4 is larger than any network
  try: "10.64.0.1/30"
`},
	{`multicast`, `"10.64.0.1/30"`, `"224.0.0.1/30"`, `
rack.toml:12:11: segment "a3-001" address: 224.0.0.1 is no host's address
  try: a private address (RFC 1918), such as "10.64.0.1/30"
`},
	{`long owner`, "", "[[server]]\nname = \"shop\"\nowner = \"" + strings.Repeat("x", 129) + "\"\npi = \"a3-001\"\n", `
rack.toml:17:9: server "shop" owner: 129 bytes are too long
  try: at most 128 bytes
`},
	{`money`, "", `[orders]
disk = 1.5
[[plan]]
model = 5
month = "5.755"
[[plan]]
memory = 1024
month = "-1"
[[plan]]
memory = 2048
month = "£5"
[[plan]]
model = 4
`, `
rack.toml:16:8: orders.disk: want text in quotes, got the number 1.5
  try: "1.5"
rack.toml:19:9: plan "model 5" month: "5.755" is not an amount of money
  try: pounds and pence such as "5.75", at most 1000000
rack.toml:22:9: plan "1024 MB" month: "-1" is not an amount of money
  try: pounds and pence such as "5.75", at most 1000000
rack.toml:25:9: plan "2048 MB" month: "£5" is not an amount of money
  try: pounds and pence such as "5.75", at most 1000000
rack.toml:26:1: plan "model 4" month: is not set
  try: month = "5.75", or "0" if it is free
`},
	{`boards that are none`, "", `[[plan]]
model = 2
month = "1"
[[plan]]
memory = 4
month = "1"
[[plan]]
memory = 3000
cpu = -1
month = "1"
`, `
rack.toml:16:9: plan "model 2" model: 2 is no model that can be booted
  try: 3, 4 or 5; 0 = any
rack.toml:19:10: plan "4 MB" memory: no board has 4 MB
  try: 4096
rack.toml:22:10: plan "3000 MB -1 MHz" memory: no board has 3000 MB
  try: one of 512 1024 2048 4096 8192 16384
rack.toml:23:7: plan "3000 MB -1 MHz" cpu: -1 is too small
  try: a number from 0 to 10000
`},
	{`memory of a segment`, `port = 1`, `port = 1
memory = 8`, `
rack.toml:15:10: segment "a3-001" memory: no board has 8 MB
  try: 8192
`},
	{`plan that no board meets`, "", `[[plan]]
model = 4
month = "5"
[[plan]]
model = 4
memory = 4096
month = "6"
[[plan]]
month = "3"
[[plan]]
month = "4"
`, `
rack.toml:18:1: plan "model 4 4096 MB": is nobody's: its boards meet plan "model 4" first (line 15)
  try: put the plan for more kinds of boards last
rack.toml:24:1: plan: is nobody's: its boards meet plan first (line 22)
  try: put the plan for more kinds of boards last
`},
	{`pool of private addresses`, "", `[orders]
pool = "10.0.0.0/16"
tries = 0
ssh_ports = 22
pool_bits = 0
spares = -1
`, `
rack.toml:16:8: orders.pool: 10.0.0.0/16 is not of public IPv6 addresses
  try: a network of public IPv6 addresses, such as "2001:db8:0:2::/64"
rack.toml:17:9: orders.tries: 0 is too small
  try: a number from 1 to 10
rack.toml:18:13: orders.ssh_ports: 22 is too small
  try: a number from 1023 to 60000, or 0
rack.toml:19:13: orders.pool_bits: 0 is too small
  try: a number from 1 to 128
rack.toml:20:10: orders.spares: -1 is too small
  try: a number from 0 to 10000
`},
	{`pool that is too small`, "", `[orders]
pool = "2001:db8::/120"
`, `
rack.toml:16:8: orders.pool: 2001:db8::/120 is too small
  try: a length from 16 to 112
`},
	{`pool with host bits`, "", `[orders]
pool = "2001:db8::7/64"
`, `
rack.toml:16:8: orders.pool: 2001:db8::7/64 is an address within its network
  try: "2001:db8::/64"
`},
	{`pool without a length`, "", `[orders]
pool = "2001:db8::"
`, `
rack.toml:16:8: orders.pool: "2001:db8::" has no length of its prefix
  try: "2001:db8::/64"
`},
	{`pool with somebody in it`, "", `[[server]]
name = "shop"
owner = "me"
pi = "a3-001"
address = "2001:db8:0:2::17/64"
[orders]
pool = "2001:db8:0:2::/64"
gateway = "2001:db8:0:2::1"
`, `
rack.toml:19:11: server "shop" address: 2001:db8:0:2::17 is within orders.pool, 2001:db8:0:2::/64
  try: an address outside of the pool
rack.toml:22:11: orders.gateway: 2001:db8:0:2::1 is within the pool
  try: "fe80::1"
`},
	{`gateway elsewhere`, "", `[orders]
pool = "2001:db8:0:2::/96"
gateway = "2001:db8:0:3::1"
`, `
rack.toml:17:11: orders.gateway: 2001:db8:0:3::1 is neither link-local nor on the wire of the pool
  try: "fe80::1"
`},
	{`gateway of no pool`, "", `[orders]
gateway = "fe80::1"
`, `
rack.toml:16:11: orders.gateway: there is no pool that it would be for
  try: pool = "2001:db8:0:2::/64"
`},
	{`images of orders`, "", `[orders]
image = "builtni"
examine = true
[[image]]
name = "builtin"
`, `
rack.toml:15:1: [orders]: no exam_image, which examine = true needs
  try: exam_image = "…", the name of an [[image]]
rack.toml:16:9: orders.image: there is no [[image]] "builtni"
  try: "builtin"
`},
	{`API open to all`, "", `[api]
listen = "0.0.0.0:8443"
`, `
rack.toml:16:10: api.listen: 0.0.0.0:8443 can be reached from outside, and there is no certificate
  try: cert and key, or "127.0.0.1:8443" with a proxy in front of it
`},
	{`certificate without a key`, "", `[api]
listen = "127.0.0.1:9468"
cert = "/etc/picloud/api.crt"
`, `
rack.toml:16:10: api.listen: 127.0.0.1:9468 is http.listen too
  try: another port
rack.toml:17:8: [api]: cert without key
  try: key = "/etc/picloud/api.key"
`},
	{`key without a certificate`, "", `[api]
key = "api.key"
`, `
rack.toml:16:7: api.key: "api.key" is not a whole path
  try: "/api.key"
rack.toml:16:7: [api]: key without cert
  try: cert = "/etc/picloud/api.crt"
`},
	{`words of the API`, "", `[api]
base = "/v1/pi"
url = "https://me:secret@api.example.org"
private_webhooks = ["10.0.0.7/8", "everywhere"]
location = "C L L"
domain = "Pi.example.org."
`, `
rack.toml:16:8: api.base: "/v1/pi" is where other calls are
  try: "/beta"
rack.toml:17:7: api.url: "https://me:secret@api.example.org" has more than a host, a port and a path
  try: such as "https://api.example.org"
rack.toml:18:21: api.private_webhooks 1: 10.0.0.7/8 is an address within its network
  try: "10.0.0.0/8"
rack.toml:18:35: api.private_webhooks: "everywhere" is not a network
  try: a network such as "10.20.0.0/16"
rack.toml:19:12: api.location: "C L L" cannot be used
  try: letters, digits and . _ - between them, at most 63
rack.toml:20:10: api.domain: "Pi.example.org." cannot be a domain
  try: labels of lower-case letters, digits and hyphens, such as "pi.example.org"
`},
	{`addresses of the API`, "", `[api]
base = ""
url = "https://api.example.org/"
private_webhooks = "10.0.0.0/8"
`, `
rack.toml:16:8: [api]: no base
  try: base = "/beta"
rack.toml:17:7: api.url: "https://api.example.org/" ends in a slash
  try: "https://api.example.org"
rack.toml:18:20: api.private_webhooks: want a list of texts, got text
  try: ["one", "two"]
`},
	{`switch without a name`, `name = "sw1"`, ``, `
rack.toml:3:1: switch: no name
  try: name = "sw1"
`},
}

func TestMistakes(t *testing.T) {
	for _, m := range mistakes {
		t.Run(m.name, func(t *testing.T) {
			text := small + m.new
			if m.old != "" {
				if !strings.Contains(small, m.old) {
					t.Fatalf("%q is not in the file", m.old)
				}
				// The last one: names come in switches and segments.
				at := strings.LastIndex(small, m.old)
				text = small[:at] + m.new + small[at+len(m.old):]
			}
			c, found := Parse("rack.toml", []byte(text), known)
			if c != nil {
				t.Error("a Config in spite of mistakes")
			}
			if diff := cmp.Diff(strings.TrimSpace(m.want), printed(found)); diff != "" {
				t.Errorf("(-want +got)\n%s\nin\n%s", diff, text)
			}
		})
	}
}

func printed(found []Problem) string {
	var lines []string
	for _, p := range found {
		lines = append(lines, p.Error())
	}
	return strings.Join(lines, "\n")
}
