package fleet

import "github.com/api-gpu/api-gpu/internal/gpu"

// Budget is the most that may be spent, reserves included; 0 is no bound. Days
// and months are those of UTC.
type Budget struct{ Job, Day, Month gpu.USD }
