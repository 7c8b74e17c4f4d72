package bill

import "picloud/engine"

// LeastDiskGB is the smallest disk that a server has.
const LeastDiskGB = 10

// PricesJSON is the price list. Prices are of a month, in pounds with two
// decimals.
type PricesJSON struct {
	Version  int         `json:"version" doc:"1"`
	Currency string      `json:"currency" doc:"GBP"`
	Disk     string      `json:"disk_10gb_month" doc:"of each further 10 GB of disk"`
	Prices   []PriceJSON `json:"prices" doc:"of the boards that can be ordered, lowest first"`
}

// PriceJSON is what a board costs.
type PriceJSON struct {
	Model  int    `json:"model" doc:"generation: 3, 4, 5"`
	Memory int    `json:"memory_mb"`
	CPU    int    `json:"cpu_mhz"`
	NIC    int    `json:"nic_mbits"`
	Disk   int    `json:"disk_gb" doc:"that is in the price"`
	Month  string `json:"month_price"`
}

// Prices lists what boards of these specs cost by the rules. One that no plan has
// cannot be ordered, and is not listed.
func Prices(rules *engine.Rules, specs []engine.Spec) PricesJSON {
	out := PricesJSON{Version: Version, Currency: currency, Disk: rules.Disk.String(), Prices: []PriceJSON{}}
	for _, s := range specs {
		if price, ok := rules.Price(s, LeastDiskGB); ok {
			out.Prices = append(out.Prices, PriceJSON{s.Model, s.Memory, s.CPU, s.NIC, LeastDiskGB, price.String()})
		}
	}
	return out
}
