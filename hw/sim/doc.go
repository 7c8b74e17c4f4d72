// Package sim is a simulated rack: PoE switches that answer SNMP and Raspberry
// Pis that boot over the network from whatever serves them.
//
// The rack is made from a seed and is the same every time: which Pi is of which
// model, which port it hangs on, which ones customers have, and how long each
// step takes it. Only the packets travel in real time.
//
// Nothing here knows the product. It gets what staff would have typed into it
// ([Rack.Inventory]), talks SNMP to the switches, and sees of the Pis what they
// send. Without privileges everything is on loopback: Pi k and its server share
// the /30 at Config.BaseNet + 4*k, server first.
package sim
