package fleet

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// meter shows the money at each scrape.
type meter struct {
	fleet                          *Fleet
	taken, budget, bills, off, gap *prometheus.Desc
}

// Metrics are those of the fleet's money.
func (f *Fleet) Metrics() prometheus.Collector {
	return &meter{
		fleet:  f,
		taken:  prometheus.NewDesc("api_gpu_taken_usd", "US dollars that machines cost or may still cost, of this day and month (UTC): spent and reserved.", []string{"period"}, nil),
		budget: prometheus.NewDesc("api_gpu_budget_usd", "The most that may be taken of a day and a month, where there is a bound.", []string{"period"}, nil),
		bills:  prometheus.NewDesc("api_gpu_bills_total", "Machines whose cost the provider has told, since the start.", nil, nil),
		off:    prometheus.NewDesc("api_gpu_bills_off_total", "Those of them that cost more than 5 % more or less than was measured.", nil, nil),
		gap:    prometheus.NewDesc("api_gpu_bill_difference_ratio", "By how much the last bill was above what was measured, as a part of the larger.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *meter) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.taken, m.budget, m.bills, m.off, m.gap} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *meter) Collect(ch chan<- prometheus.Metric) {
	f := m.fleet
	if !f.cfg.Policy.paid() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	now := f.cfg.Now()
	all, err := books(ctx, f.cfg.DB.Read(), now, "")
	if err != nil {
		ch <- prometheus.NewInvalidMetric(m.taken, err)
		return
	}
	usd := func(d *prometheus.Desc, u gpu.USD, period string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(u)/float64(gpu.Dollar), period)
	}
	usd(m.taken, all.taken(dayAt(now)), "day")
	usd(m.taken, all.taken(monthAt(now)), "month")
	for period, limit := range map[string]gpu.USD{"day": f.cfg.Policy.Budget.Day, "month": f.cfg.Policy.Budget.Month} {
		if limit > 0 {
			usd(m.budget, limit, period)
		}
	}
	f.mu.Lock()
	b := f.money.bills
	f.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(m.bills, prometheus.CounterValue, float64(b.final))
	ch <- prometheus.MustNewConstMetric(m.off, prometheus.CounterValue, float64(b.off))
	ch <- prometheus.MustNewConstMetric(m.gap, prometheus.GaugeValue, b.last)
}
