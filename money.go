package apigpu

import "strconv"

// Dollars is an amount of US dollars, a whole number of nanodollars (1e-9).
// Below nine million dollars it is exact: its JSON is a decimal number that
// says each nanodollar, as 0.004321.
type Dollars float64

// Nanodollars makes Dollars.
func Nanodollars(n int64) Dollars { return Dollars(float64(n) / 1e9) }

// MarshalJSON implements json.Marshaler. There is never an exponent: people
// read it, and not every program does.
func (d Dollars) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, float64(d), 'f', -1, 64), nil
}

// String prints dollars for people: to the cent, below a dollar to a hundredth
// of that, and below a tenth of a cent to a hundredth of that again.
func (d Dollars) String() string {
	digits := 2
	switch size := max(d, -d); {
	case size < 0.001 && size > 0:
		digits = 6
	case size < 1:
		digits = 4
	}
	return "$" + strconv.FormatFloat(float64(d), 'f', digits, 64)
}
