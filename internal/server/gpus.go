package server

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/internal/fleet"
	"github.com/api-gpu/api-gpu/internal/gpu"
	"github.com/api-gpu/api-gpu/internal/httpapi"
)

// GPUs answers the operator's questions about machines, and ends them.
type GPUs struct{ Fleet *fleet.Fleet }

type gpusIn struct {
	Plan bool `query:"plan" doc:"Also tell what the next round would do, and why"`
}

type gpuIn struct {
	ID string `path:"id" maxLength:"128" doc:"id or provider_id of the machine"`
}

type gpusOut struct{ Body apigpu.GPUs }

type gpusEndedOut struct{ Body apigpu.GPUsEnded }

// Register adds the routes to an API, behind a guard that lets the admin
// through and nobody else.
func (g *GPUs) Register(api *httpapi.API, guard func(http.Handler) http.Handler) {
	list := huma.Operation{
		OperationID: "list-gpus", Method: http.MethodGet, Path: "/gpus", Summary: "What is rented, why, what it costs, and what it costs at most",
		Errors: []int{http.StatusForbidden, http.StatusServiceUnavailable},
	}
	huma.Register(api.Huma, api.Operation(list, guard), func(ctx context.Context, in *gpusIn) (*gpusOut, error) {
		body, err := g.list(ctx, in.Plan)
		if err != nil {
			return nil, api.Fault(ctx, err)
		}
		return &gpusOut{body}, nil
	})
	end := func(ctx context.Context, id string) (*gpusEndedOut, error) {
		body, err := g.end(ctx, id)
		if err != nil {
			return nil, api.Fault(ctx, err)
		}
		return &gpusEndedOut{body}, nil
	}
	one := huma.Operation{
		OperationID: "end-gpu", Method: http.MethodDelete, Path: "/gpus/{id}", Summary: "End a machine; a job that runs on it is queued again",
		Errors: []int{http.StatusForbidden, http.StatusConflict},
	}
	huma.Register(api.Huma, api.Operation(one, guard), func(ctx context.Context, in *gpuIn) (*gpusEndedOut, error) { return end(ctx, in.ID) })
	all := huma.Operation{
		OperationID: "end-gpus", Method: http.MethodDelete, Path: "/gpus", Summary: "End all machines of this fleet; jobs that run on them are queued again",
		Errors: []int{http.StatusForbidden},
	}
	huma.Register(api.Huma, api.Operation(all, guard), func(ctx context.Context, _ *struct{}) (*gpusEndedOut, error) { return end(ctx, "") })
	paths := api.Huma.OpenAPI().Paths
	api.Describe(paths["/gpus"].Get, paths["/gpus"].Delete, paths["/gpus/{id}"].Delete)
}

func (g *GPUs) list(ctx context.Context, plan bool) (apigpu.GPUs, error) {
	if plan {
		p, err := g.Fleet.Preview(ctx)
		if err != nil {
			return apigpu.GPUs{}, err
		}
		body := ShowPlan(p)
		body.Role = role(g.Fleet)
		return body, nil
	}
	r, err := g.Fleet.Report(ctx)
	if err != nil {
		return apigpu.GPUs{}, err
	}
	body := ShowGPUs(r)
	body.Role = role(g.Fleet)
	return body, nil
}

// end ends one machine, or all with an empty id.
func (g *GPUs) end(ctx context.Context, id string) (apigpu.GPUsEnded, error) {
	before, err := g.Fleet.Report(ctx)
	if err != nil {
		return apigpu.GPUsEnded{}, err
	}
	machines, err := g.Fleet.End(ctx, id)
	if err != nil {
		return apigpu.GPUsEnded{}, err
	}
	out := apigpu.GPUsEnded{Object: "list", Data: []apigpu.GPU{}}
	jobs := 0
	for _, m := range machines {
		out.Data = append(out.Data, showGPU(before, m))
		jobs += len(m.Jobs)
	}
	out.Message = whatNext(len(machines), jobs, before.Waiting+jobs)
	return out, nil
}

// whatNext says what happens after the end of machines was asked for.
func whatNext(machines, jobs, waiting int) string {
	if machines == 0 {
		return "There is nothing to end."
	}
	s := "Ending " + several(machines, "machine") + ": listed until the provider says that nothing is left."
	if jobs > 0 {
		s += " Back in the queue within seconds, and not blamed: " + several(jobs, "job") + "."
	}
	if waiting > 0 {
		s += " Waiting for a machine: " + several(waiting, "job") + ", so that another is rented. Cancel what should not run."
	}
	return s
}

func several(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// role is what this process may do.
func role(f *fleet.Fleet) string {
	switch {
	case f.Leading():
		return "leader"
	case f.MayDrive():
		return "member"
	}
	return "standby"
}

// ShowGPUs is a report as the API tells it.
func ShowGPUs(r fleet.Report) apigpu.GPUs {
	out := apigpu.GPUs{
		Object: "list", Fleet: r.Fleet, Role: "observer", At: r.At.UTC(), Data: []apigpu.GPU{}, Stops: []apigpu.GPUStop{},
		Summary: apigpu.GPUTotals{
			HourlyUSD: dollars(r.Hourly), TodayUSD: dollars(r.Today), ReservedUSD: dollars(r.Reserved), WorstUSD: dollars(r.Worst), WaitingJobs: r.Waiting,
		},
	}
	for _, m := range r.Machines {
		out.Data = append(out.Data, showGPU(r, m))
		if m.Unprotected {
			out.Summary.Unprotected++
		}
	}
	for _, s := range r.Stops {
		out.Stops = append(out.Stops, apigpu.GPUStop{Code: s.Code, Reason: s.Reason, Detail: s.Detail, Until: moment(s.Until)})
	}
	out.Foreign, out.Strays = showForeign(r.Provider, r.Foreign), showForeign(r.Provider, r.Strays)
	return out
}

func showForeign(provider string, list []fleet.Foreign) []apigpu.ForeignGPU {
	out := []apigpu.ForeignGPU{}
	for _, x := range list {
		out = append(out, apigpu.ForeignGPU{
			ProviderID: x.ID, Label: x.Label, Fleet: x.Fleet, CreatedAt: moment(fleet.Born(x.Label)), HourlyUSD: dollars(x.HourlyUSD),
			Sweep: fleet.SweepCommand(provider, x.Fleet),
		})
	}
	return out
}

func showGPU(r fleet.Report, m fleet.Reported) apigpu.GPU {
	out := apigpu.GPU{
		ID: m.Label, Provider: m.Provider, ProviderID: m.ProviderID, State: string(m.State), Reason: m.Reason, Why: m.Terms.Why, Message: m.Message,
		Ambiguous: m.Ambiguous, Permanent: m.Permanent,
		GPU: m.Terms.GPU, Country: m.Terms.Country, MachineID: m.Terms.MachineID, HostID: m.Terms.HostID, Slots: m.Slots, Jobs: m.Jobs,
		CreatedAt: m.CreatedAt, Since: m.StateSince, StartedAt: moment(m.StartedAt), ReadyAt: moment(m.ReadyAt),
		LeaseUntil: moment(m.LeaseUntil), HourlyUSD: dollars(m.HourlyUSD), CostUSD: dollars(m.Spent), ReservedUSD: dollars(m.Reserved),
		WorstUSD: dollars(m.Worst), EndsBy: moment(m.EndsBy), Unprotected: m.Unprotected,
	}
	if out.GPU == "" {
		out.GPU = m.Worker.GPU
	}
	if out.Jobs == nil {
		out.Jobs = []string{}
	}
	if !m.Permanent && m.State != gpu.Ready && m.State != gpu.Destroying { // theirs are of the state before
		out.Deadline = moment(m.Deadline)
	}
	if m.Unprotected {
		out.Sweep = fleet.SweepCommand(m.Provider, r.Fleet)
	}
	return out
}

func dollars(u gpu.USD) apigpu.Dollars { return apigpu.Nanodollars(int64(u)) }

// moment is nil for never.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// maxOffers bounds the offers that a plan shows: no more are tried in one
// round.
const maxOffers = 5

// ShowPlan is a preview as the API tells it.
func ShowPlan(p fleet.Preview) apigpu.GPUs {
	out := ShowGPUs(p.Report)
	plan := &apigpu.GPUPlan{Actions: []apigpu.GPUAction{}, Kept: []apigpu.GPUKept{}, Nothing: p.Nothing, Next: p.Next.UTC()}
	for _, a := range p.Actions {
		shown := apigpu.GPUAction{Kind: string(a.Kind), ID: a.Label, Reason: a.Reason}
		if a.Label == "" {
			shown.ID = a.ID
		}
		for _, o := range a.Offers[:min(len(a.Offers), maxOffers)] {
			shown.Offers = append(shown.Offers, apigpu.GPUOffer{
				ID: o.ID, GPU: o.GPU, Country: o.Country, MachineID: o.MachineID,
				HourlyUSD: dollars(o.HourlyUSD), JobUSD: dollars(o.Cost), Why: o.Why,
			})
		}
		plan.Actions = append(plan.Actions, shown)
	}
	for _, k := range p.Kept {
		plan.Kept = append(plan.Kept, apigpu.GPUKept{ID: k.Label, Reason: k.Reason, Until: moment(k.Until)})
	}
	out.Plan = plan
	return out
}
