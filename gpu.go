package apigpu

import "time"

// GPU is a machine as GET /gpus shows it: one that is rented, was asked for,
// or is on its way out. Amounts are of this
// server's own reckoning.
type GPU struct {
	// ID is its label: its name for ever.
	ID         string `json:"id" doc:"Its label, which is its name for ever"`
	Provider   string `json:"provider" doc:"Where it comes from" example:"vast"`
	ProviderID string `json:"provider_id,omitempty" doc:"The provider's name for it; absent until it is known"`
	State      string `json:"state" enum:"planned,creating,booting,ready,destroying" doc:"Where it is in its life"`
	Reason     string `json:"reason" doc:"Why it is in this state"`
	// Why says why it was rented, and why it and no other.
	Why string `json:"why,omitempty" doc:"Why it was rented, and why it and no other"`
	// Message is the provider's last word about it.
	Message string `json:"message,omitempty" doc:"The provider's last word about it"`
	// Ambiguous means that the call which asked for it ended without an
	// answer: it may exist, or not.
	Ambiguous bool `json:"ambiguous" doc:"The call that asked for it ended without an answer"`
	// Permanent means that it was there before this server, which neither
	// starts nor ends it.
	Permanent bool `json:"permanent" doc:"It is configured, and not this server's to end"`

	GPU       string `json:"gpu,omitempty" doc:"Model of its GPU"`
	Country   string `json:"country,omitempty" doc:"Where it stands: two letters"`
	MachineID string `json:"machine_id,omitempty" doc:"The physical machine"`
	HostID    string `json:"host_id,omitempty" doc:"Its owner"`
	Slots     int    `json:"slots" doc:"How many jobs it runs at once"`
	// Jobs are the ids of those that run on it.
	Jobs []string `json:"jobs" doc:"Jobs that run on it"`

	CreatedAt time.Time  `json:"created_at" doc:"When it was asked for"`
	Since     time.Time  `json:"since" doc:"Since when it is in this state"`
	StartedAt *time.Time `json:"started_at,omitempty" doc:"When its container was first seen to run: from then on its GPU is paid for"`
	ReadyAt   *time.Time `json:"ready_at,omitempty" doc:"When its worker first proved that it can encode"`
	Deadline  *time.Time `json:"deadline,omitempty" doc:"When this state has lasted too long"`
	// LeaseUntil is when its worker ends it if nobody renews its lease.
	LeaseUntil *time.Time `json:"lease_until,omitempty" doc:"When its worker ends it if nobody renews its lease"`

	HourlyUSD Dollars `json:"hourly_usd" doc:"Price of an hour, GPU and disk"`
	CostUSD   Dollars `json:"cost_usd" doc:"What it cost so far, as estimated here"`
	// ReservedUSD is what is set aside for it beyond CostUSD.
	ReservedUSD Dollars `json:"reserved_usd" doc:"What is set aside for it, beyond cost_usd"`
	// WorstUSD is what it costs in the end, CostUSD included, if this server
	// dies now: until EndsBy, with all the traffic that is allowed to it.
	WorstUSD Dollars `json:"worst_usd" doc:"What it will have cost at most, cost_usd included, if this server dies now"`
	// EndsBy is when it ends by itself in that case.
	EndsBy *time.Time `json:"ends_by,omitempty" doc:"When it ends by itself if this server dies now"`
	// Unprotected means that its worker has never answered. Only a worker that
	// runs ends its machine by itself: if this server dies now, somebody must
	// run Sweep, and WorstUSD holds only if the worker starts after all.
	Unprotected bool `json:"unprotected" doc:"Its worker has never answered, so that it may not end by itself"`
	// Sweep is the command that ends it from anywhere, with nothing but the
	// account's key; empty where it needs none.
	Sweep string `json:"sweep,omitempty" doc:"Command that ends it from anywhere, with the account's key alone"`
}

// GPUs is the answer of GET /gpus.
type GPUs struct {
	Object string `json:"object" enum:"list"`
	// Fleet is the name that is part of every id.
	Fleet string `json:"fleet" doc:"The name that is part of every id"`
	// Role is that of the process that answered: only the leader rents and
	// destroys. Without a plan only the leader knows of Stops, Foreign and
	// Strays. observer is the command orchestrator plan.
	Role    string    `json:"role" enum:"leader,member,standby,observer" doc:"Of the process that answered: only the leader rents and destroys"`
	At      time.Time `json:"at" doc:"When this was so"`
	Data    []GPU     `json:"data" doc:"All that are not gone, the oldest first"`
	Summary GPUTotals `json:"summary"`
	// Stops are why nothing is rented now, whatever waits.
	Stops []GPUStop `json:"stops" doc:"Why nothing is rented now, whatever waits"`
	// Foreign are instances of the account that look like an api-gpu's and
	// are of another fleet. They are never touched.
	Foreign []ForeignGPU `json:"foreign" doc:"Instances of the account that belong to another fleet; never touched"`
	// Strays carry the label of this fleet and are not in its ledger, because a
	// database was lost or put back: their ends are asked for.
	Strays []ForeignGPU `json:"strays" doc:"Instances with a label of this fleet that its ledger does not know; they are ended"`
	Plan   *GPUPlan     `json:"plan,omitempty" doc:"With plan=1: what the next round would do"`
}

// GPUTotals are the sums over all machines, and what waits for them.
type GPUTotals struct {
	HourlyUSD   Dollars `json:"hourly_usd" doc:"Price of an hour of all of them"`
	TodayUSD    Dollars `json:"today_usd" doc:"What all machines cost since midnight (UTC), as estimated here"`
	ReservedUSD Dollars `json:"reserved_usd" doc:"What is set aside beyond what they cost so far"`
	WorstUSD    Dollars `json:"worst_usd" doc:"What they will have cost at most if this server dies now"`
	Unprotected int     `json:"unprotected" doc:"How many may not end by themselves"`
	WaitingJobs int     `json:"waiting_jobs" doc:"Jobs that wait for a machine"`
}

// GPUStop is a reason to rent nothing.
type GPUStop struct {
	Code   string     `json:"code" doc:"Stable name of the reason" example:"budget"`
	Reason string     `json:"reason"`
	Detail string     `json:"detail,omitempty" doc:"What was seen, and what to do"`
	Until  *time.Time `json:"until,omitempty" doc:"When it is tried again; absent where somebody must act"`
}

// ForeignGPU is an instance of the account that is not in the ledger.
type ForeignGPU struct {
	ProviderID string     `json:"provider_id"`
	Label      string     `json:"label"`
	Fleet      string     `json:"fleet" doc:"The fleet that its label names"`
	CreatedAt  *time.Time `json:"created_at,omitempty" doc:"By its label"`
	HourlyUSD  Dollars    `json:"hourly_usd,omitempty" doc:"Absent where it is not known"`
	Sweep      string     `json:"sweep,omitempty" doc:"Command that would end all of its fleet"`
}

// GPUPlan is what the next round would do, and why.
type GPUPlan struct {
	Actions []GPUAction `json:"actions" doc:"What it would do, in this order"`
	Kept    []GPUKept   `json:"kept" doc:"What stays as it is"`
	// Nothing says why nothing is rented; empty where something is.
	Nothing string    `json:"nothing,omitempty" doc:"Why nothing is rented"`
	Next    time.Time `json:"next" doc:"When time alone would change this, at the latest"`
}

// GPUAction is one thing that would be done.
type GPUAction struct {
	Kind   string     `json:"kind" enum:"search,rent,destroy"`
	ID     string     `json:"id,omitempty" doc:"The machine, by its label; by its provider_id where no row knows it"`
	Reason string     `json:"reason"`
	Offers []GPUOffer `json:"offers,omitempty" doc:"Of rent: the offers, the best first; the first that can be had is taken"`
}

// GPUKept is a machine that stays as it is.
type GPUKept struct {
	ID     string     `json:"id"`
	Reason string     `json:"reason"`
	Until  *time.Time `json:"until,omitempty" doc:"When that may change by itself"`
}

// GPUOffer is something that could be rented.
type GPUOffer struct {
	ID        string  `json:"id"`
	GPU       string  `json:"gpu,omitempty"`
	Country   string  `json:"country,omitempty"`
	MachineID string  `json:"machine_id,omitempty"`
	HourlyUSD Dollars `json:"hourly_usd"`
	JobUSD    Dollars `json:"job_usd,omitempty" doc:"What the job is expected to cost there"`
	Why       string  `json:"why,omitempty" doc:"Why it stands where it stands"`
}

// GPUsEnded is the answer of DELETE /gpus and DELETE /gpus/{id}.
type GPUsEnded struct {
	Object string `json:"object" enum:"list"`
	// Data are the machines whose end was asked for, as they are now.
	Data []GPU `json:"data" doc:"The machines whose end was asked for, as they are now"`
	// Message says what happens next, for people.
	Message string `json:"message" doc:"What happens next"`
}
