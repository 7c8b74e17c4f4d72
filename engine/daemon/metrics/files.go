package metrics

import _ "embed" // the files

//go:embed dashboard.json
var dashboard []byte

//go:embed alerts.yml
var alerts []byte

// Dashboard returns a Grafana dashboard of these metrics: JSON to be imported.
func Dashboard() []byte { return append([]byte(nil), dashboard...) }

// Alerts returns rules for Prometheus that say when a person should look.
func Alerts() []byte { return append([]byte(nil), alerts...) }
