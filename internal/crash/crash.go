// Package crash names the moments at which the tests kill a program: before
// and after each durable write, and within each transfer. In ordinary builds
// it does nothing, and the names are not in the program.
//
// With the build tag crashpoints a program looks into the folder that
// CRASH_DIR names, at each point that it passes. It appends the point's name
// to the file trace there. Where the file at holds that name, or name#n and
// this is the n-th passage since the file was there, the program removes the
// file and kills itself at once, as kill -9 does: no deferred call runs, no
// buffer is flushed. test/e2e does this at every point there is.
package crash
