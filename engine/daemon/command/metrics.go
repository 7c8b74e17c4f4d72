package command

import (
	"context"

	"github.com/spf13/cobra"

	"picloud/engine/daemon/metrics"
)

// metricsGroup prints what goes with the service's metrics.
func (p *Program) metricsGroup() *cobra.Command {
	g := &cobra.Command{
		Use: "metrics", Short: "files for Prometheus and Grafana",
		Long: "The service tells its metrics at /metrics, and its health at /healthz and /readyz,\nof the address http.listen in the configuration.",
	}
	for _, f := range []struct {
		use, short string
		text       func() []byte
	}{
		{"dashboard", "print a Grafana dashboard, as JSON to import", metrics.Dashboard},
		{"alerts", "print alert rules for Prometheus", metrics.Alerts},
	} {
		c := local(&cobra.Command{Use: f.use, Short: f.short, Args: exactly()}, func(context.Context, []string) error {
			_, err := p.Out.Write(f.text())
			return err
		})
		if f.use == "dashboard" {
			withJSON(c) // it is
		}
		g.AddCommand(c)
	}
	return g
}
