package server

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

// HealthStorage is how full the storage is, in bytes.
type HealthStorage struct {
	Used     int64 `json:"used"`     // by results and uploads
	Promised int64 `json:"promised"` // to jobs and uploads that go on
	Free     int64 `json:"free"`     // on the volume
	Limit    int64 `json:"limit"`    // of used and promised together; 0 without one
	Full     bool  `json:"full"`     // new work is refused
}

// storage tells how full the storage is, and what to warn of.
func (s *Status) storage(ctx context.Context) (h HealthStorage, warnings []string) {
	room, err := s.Jobs.Blob.Room(ctx)
	if err != nil {
		return h, []string{"the storage cannot be measured"}
	}
	if room.Full {
		warnings = append(warnings, "the storage is full: new work is refused")
	}
	return HealthStorage{Used: room.Used, Promised: room.Promised, Free: room.Free, Limit: room.Limit, Full: room.Full}, warnings
}

// collectStorage is the part of Collect about the storage.
func (c *collector) collectStorage(ctx context.Context, ch chan<- prometheus.Metric) {
	room, err := c.status.Jobs.Blob.Room(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.storage, err)
		return
	}
	for kind, bytes := range map[string]int64{"used": room.Used, "promised": room.Promised, "free": room.Free, "limit": room.Limit} {
		ch <- prometheus.MustNewConstMetric(c.storage, prometheus.GaugeValue, float64(bytes), kind)
	}
	full := 0.0
	if room.Full {
		full = 1
	}
	ch <- prometheus.MustNewConstMetric(c.full, prometheus.GaugeValue, full)
	ch <- prometheus.MustNewConstMetric(c.evicted, prometheus.CounterValue, float64(room.Evicted))
}
