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

// String prints dollars as people write them: to the cent, and below a dollar
// to a hundredth of a cent.
func (d Dollars) String() string {
	if d >= 1 || d <= -1 {
		return "$" + strconv.FormatFloat(float64(d), 'f', 2, 64)
	}
	return "$" + strconv.FormatFloat(float64(d), 'f', 4, 64)
}
