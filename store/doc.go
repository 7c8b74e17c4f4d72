// Package store keeps the rack's inventory, its customers and what they ordered,
// the ledger, jobs, boots, log and audit in one SQLite database. It implements
// engine.Inventory.
//
// One connection writes and a few read, in write-ahead mode: readers see the
// last committed state and neither wait for the writer nor stop it. A lock file
// beside the database keeps a second process out.
//
// What is durable when: a Save that holds an act (a job, an audit row, a Pi, a
// volume, anything of the inventory, of customers or of money) has been synced to
// the disk when it returns, and so survives a power cut. A Save of observations
// alone (boots, their events, log lines, port readings, notices) has been handed
// to the operating system: it survives the death of this process, and a power cut
// takes the last of it at most. So it is with SaveDelivery. The next synced Save
// makes all before it durable.
//
// What must never be is refused by the database itself, by unique indexes and
// triggers, whatever a program believes: a server on two Pis, an address given
// twice, a server that begins or ends to cost twice, a row of the audit or the
// ledger that changes.
//
// Times are kept to the microsecond and come back in UTC.
package store
