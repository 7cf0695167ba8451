package vastsim

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/api-gpu/api-gpu/internal/gpu"
)

// Offer is a machine that can be rented, in the words and units of the API:
// MB of memory, GB of disk, Mbit/s, dollars.
type Offer struct {
	// ID changes whenever the machine is free again; made up when 0.
	ID              int64   `json:"id"`
	MachineID       int64   `json:"machine_id"`
	HostID          int64   `json:"host_id"`
	GPUName         string  `json:"gpu_name"`
	NumGPUs         int     `json:"num_gpus"`
	GPURAM          float64 `json:"gpu_ram"`
	ComputeCap      int     `json:"compute_cap"`
	CUDAMaxGood     float64 `json:"cuda_max_good"`
	DriverVersion   string  `json:"driver_version"`
	CPUCores        int     `json:"cpu_cores"`
	CPUCoresShare   float64 `json:"cpu_cores_effective"`
	CPURAM          float64 `json:"cpu_ram"`
	CPUArch         string  `json:"cpu_arch"`
	DiskSpace       float64 `json:"disk_space"`
	InetDown        float64 `json:"inet_down"`
	InetUp          float64 `json:"inet_up"`
	InetDownCost    float64 `json:"inet_down_cost"`
	InetUpCost      float64 `json:"inet_up_cost"`
	StorageCost     float64 `json:"storage_cost"`
	DPHBase         float64 `json:"dph_base"`
	MinBid          float64 `json:"min_bid"`
	Duration        float64 `json:"duration"`
	Reliability     float64 `json:"reliability2"`
	Verification    string  `json:"verification"`
	StaticIP        bool    `json:"static_ip"`
	DirectPortCount int     `json:"direct_port_count"`
	PublicIPAddr    string  `json:"public_ipaddr"`
	Geolocation     string  `json:"geolocation"`
	HostingType     int     `json:"hosting_type"`
	External        bool    `json:"external"`
	Rentable        bool    `json:"rentable"`
	Score           float64 `json:"score"`

	// Busy offers are found, but their GPU was taken meanwhile.
	Busy bool `json:"busy"`
	// rented is true while the account has it.
	rented bool
}

// typicalOffer is what a scenario's offer is where it says nothing else.
func typicalOffer() Offer {
	return Offer{
		GPUName: "RTX 3060", NumGPUs: 1, GPURAM: 12288, ComputeCap: 860, CUDAMaxGood: 12.8, DriverVersion: "570.133.20",
		CPUCores: 32, CPUCoresShare: 8, CPURAM: 64257, CPUArch: "amd64", DiskSpace: 211.4,
		InetDown: 812.3, InetUp: 540.9, InetDownCost: 0.0026, InetUpCost: 0.0039, StorageCost: 0.15,
		DPHBase: 0.0489, MinBid: 0.031, Duration: 2412345.7, Reliability: 0.9931, Verification: "verified",
		DirectPortCount: 99, PublicIPAddr: "203.0.113.42", Geolocation: "Sofia, BG", Rentable: true, Score: 210.5,
	}
}

// UnmarshalJSON reads what differs from a typical offer.
func (o *Offer) UnmarshalJSON(text []byte) error {
	type plain Offer
	p := plain(typicalOffer())
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // a misspelt knob would turn nothing
	err := d.Decode(&p)
	*o = Offer(p)
	return err
}

// DefaultOffers is a small market: good machines, and some of each kind that a
// client should not rent.
func DefaultOffers() []Offer {
	var all []Offer
	add := func(name string, ram float64, capability int, price float64, edit func(*Offer)) {
		o := typicalOffer()
		o.GPUName, o.GPURAM, o.ComputeCap, o.DPHBase, o.MinBid = name, ram, capability, price, price*0.6
		o.MachineID, o.HostID = int64(18231+len(all)), int64(55555+len(all)/2)
		if edit != nil {
			edit(&o)
		}
		all = append(all, o)
	}
	add("RTX 3060", 12288, 860, 0.0489, nil)
	add("RTX 3060", 12288, 860, 0.0512, func(o *Offer) { o.Geolocation = "Oslo, NO" })
	add("RTX 3060 Ti", 8192, 860, 0.0621, nil)
	add("RTX 3090", 24576, 860, 0.1312, nil)
	add("RTX 3090", 24564, 860, 0.1498, func(o *Offer) { o.StaticIP, o.HostingType, o.Geolocation = true, 1, "Germany, DE" })
	add("RTX 4090", 24564, 890, 0.2987, nil)
	add("RTX 4090", 24564, 890, 0.3311, func(o *Offer) { o.Geolocation = ", US" })
	add("RTX 5090", 32607, 1200, 0.4410, nil)
	add("L4", 23034, 890, 0.2200, func(o *Offer) { o.StaticIP, o.HostingType = true, 1 })
	add("A100 SXM4", 81920, 800, 0.0901, nil) // cheap, and without an encoder
	add("RTX 3060", 12288, 860, 0.0201, func(o *Offer) { o.Verification = "unverified" })
	add("RTX 3060", 12288, 860, 0.0202, func(o *Offer) { o.Reliability = 0.71 })
	add("RTX 3060", 12288, 860, 0.0203, func(o *Offer) { o.DirectPortCount = 0 })
	add("RTX 3060", 12288, 860, 0.0204, func(o *Offer) { o.InetUp, o.InetDown = 8, 12 })
	add("RTX 3060", 12288, 860, 0.0205, func(o *Offer) { o.CPUArch = "arm64" })
	add("RTX 3060", 12288, 860, 0.0206, func(o *Offer) { o.Rentable = false })
	add("RTX 3060", 12288, 860, 0.0207, func(o *Offer) { o.External = true })
	add("RTX 3060", 12288, 860, 0.0208, func(o *Offer) { o.Duration = 1800 })
	add("RTX 3060", 12288, 860, 0.0209, func(o *Offer) { o.DiskSpace = 9 })
	add("RTX 3060", 12288, 860, 0.0210, func(o *Offer) { o.InetDownCost, o.InetUpCost = 0.5, 0.5 })
	return all
}

// storageHour is the price of so many GB for an hour.
func (o *Offer) storageHour(gb float64) gpu.USD { return usd(o.StorageCost * gb / hoursAMonth) }

// row is the offer as the API shows it.
func (o *Offer) row(now time.Time, allocated float64, bid bool) map[string]any {
	base := o.DPHBase
	if bid {
		base = o.MinBid
	}
	storage := dollars(o.storageHour(allocated))
	total := base + storage
	price := map[string]any{
		"gpuCostPerHour": base, "diskHour": storage, "totalHour": total, "discountTotalHour": 0, "discountedTotalPerHour": total,
	}
	epoch := float64(now.UnixNano()) / 1e9
	return map[string]any{
		"id": o.ID, "ask_contract_id": o.ID, "machine_id": o.MachineID, "host_id": o.HostID, "bundle_id": o.MachineID*10 + 1,
		"gpu_name": o.GPUName, "num_gpus": o.NumGPUs, "gpu_frac": 1, "gpu_ram": o.GPURAM, "gpu_total_ram": o.GPURAM * float64(o.NumGPUs),
		"compute_cap": o.ComputeCap, "cuda_max_good": o.CUDAMaxGood, "driver_version": o.DriverVersion, "driver_vers": driverNumber(o.DriverVersion),
		"cpu_cores": o.CPUCores, "cpu_cores_effective": o.CPUCoresShare, "cpu_name": "AMD Ryzen 9 5950X", "cpu_ghz": 3.4, "cpu_ram": o.CPURAM, "cpu_arch": o.CPUArch,
		"has_avx": 1, "disk_space": o.DiskSpace, "disk_bw": 2890.1, "disk_name": "nvme", "gpu_mem_bw": 329.1, "gpu_max_power": 170, "gpu_display_active": false,
		"inet_down": o.InetDown, "inet_up": o.InetUp, "inet_down_cost": o.InetDownCost, "inet_up_cost": o.InetUpCost,
		"internet_down_cost_per_tb": o.InetDownCost * 1000, "internet_up_cost_per_tb": o.InetUpCost * 1000,
		"storage_cost": o.StorageCost, "storage_total_cost": storage, "dph_base": base, "dph_total": total, "min_bid": o.MinBid, "is_bid": bid,
		"duration": o.Duration, "start_date": epoch, "end_date": epoch + o.Duration,
		"reliability2": o.Reliability, "verification": o.Verification, "verified": nil, "static_ip": o.StaticIP,
		"direct_port_count": o.DirectPortCount, "public_ipaddr": o.PublicIPAddr, "geolocation": o.Geolocation, "hosting_type": o.HostingType,
		"rentable": o.Rentable && !o.rented, "rented": o.rented, "external": o.External, "resource_type": "gpu",
		"dlperf": 11.2, "dlperf_per_dphtotal": 11.2 / total, "total_flops": 12.7, "flops_per_dphtotal": 12.7 / total, "score": o.Score,
		"expected_reliability": o.Reliability, "vericode": vericode(o.Verification), "gpu_arch": "nvidia", "gpu_max_temp": 90, "bw_nvlink": 0, "is_vm_deverified": false,
		"pci_gen": 4, "pcie_bw": 12.1, "mobo_name": "X570", "os_version": "22.04", "vms_enabled": false, "cluster_id": nil,
		"discount_rate": nil, "credit_discount_max": nil, "discounted_dph_total": total, "search": price, "instance": price,
	}
}

// vericode is 1 for what is verified.
func vericode(verification string) int {
	if verification == "verified" {
		return 1
	}
	return 0
}

// driverNumber is 570133020 for "570.133.20": groups of three digits.
func driverNumber(version string) int {
	n := 0
	for _, part := range strings.Split(version, ".") {
		v, err := strconv.Atoi(part)
		if err != nil {
			return 0
		}
		n = n*1000 + v
	}
	return n
}

// offer finds what can be asked for; nil when there is no such ask.
func (s *Sim) offer(id int64) *Offer {
	for _, o := range s.offers {
		if o.ID == id && !o.rented && o.Rentable {
			return o
		}
	}
	return nil
}

// release puts the machine back on the market, as a new ask.
func (s *Sim) release(i *instance) {
	for n, o := range s.offers {
		if o.ID == i.offer.ID && o.rented {
			again := *o
			again.ID, again.rented = s.id(), false
			s.offers[n] = &again
			return
		}
	}
}

// addOffer puts an offer on the market.
func (s *Sim) addOffer(o Offer) *Offer {
	if o.ID == 0 {
		o.ID = s.id()
	}
	if o.MachineID == 0 {
		o.MachineID = o.ID % 1_000_000
	}
	s.offers = append(s.offers, &o)
	return &o
}
