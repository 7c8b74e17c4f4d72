// Package metrics tells monitoring how the rack and the service are: metrics in
// Prometheus' text format, and two answers for those who only ask whether the
// service is alive and whether it is ready.
//
// What is a state is read from the engine's snapshot at each scrape; what
// happens is counted as it comes by. Nothing of a customer's is told: labels are
// names of the rack's configuration and words of this program, never text from
// the network or of a person, and a Pi's name is the only label of which there
// are as many values as Pis.
package metrics
