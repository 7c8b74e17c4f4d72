package api_test

import (
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// BenchmarkShow is what customers' programs do most: look at a server, over
// connections that stay open. It tells requests a second and the time within
// which 99 of 100 are answered.
func BenchmarkShow(b *testing.B) {
	name, full, _ := newAccount(b, 0)
	c := newClient(b, full).login()
	c.order("/beta/pi/servers/"+name, nil)
	defer func() {
		c.settle(name)
		c.want(http.StatusNoContent, "DELETE", "/beta/pi/servers/"+name, nil)
	}()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	var mu sync.Mutex
	var took []time.Duration
	b.SetParallelism(8)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		var mine []time.Duration
		for pb.Next() {
			begun := time.Now()
			req, err := http.NewRequest(http.MethodGet, c.base+"/beta/pi/servers/"+name, nil)
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("Authorization", "Bearer "+c.token)
			res, err := transport.RoundTrip(req)
			if err != nil {
				b.Error(err)
				return
			}
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
			if err != nil || res.StatusCode != http.StatusOK {
				b.Errorf("%s, %v", res.Status, err)
				return
			}
			mine = append(mine, time.Since(begun))
		}
		mu.Lock()
		defer mu.Unlock()
		took = append(took, mine...)
	})
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
