package main

import (
	"fmt"

	"github.com/api-gpu/api-gpu"
	"github.com/api-gpu/api-gpu/client"
	"github.com/api-gpu/api-gpu/internal/show"
)

// jobsCmd lists jobs; one page is enough for people, and programs have the
// API.
type jobsCmd struct {
	Status string `enum:",queued,running,succeeded,failed,canceled,expired" default:"" placeholder:"STATUS" help:"Only jobs of this status: queued, running, succeeded, failed, canceled or expired."`
	Limit  int    `default:"20" help:"How many, 1 to 100 (default: ${default})."`
	JSON   bool   `name:"json" help:"Write the page as JSON."`
}

// Run lists jobs.
func (k *jobsCmd) Run(a *app) error {
	if k.Limit < 1 || k.Limit > 100 {
		return usage("--limit is from 1 to 100.")
	}
	page, err := a.client.Jobs(a.ctx, client.Filter{Status: apigpu.Status(k.Status), Limit: k.Limit})
	switch {
	case err != nil:
		return err
	case k.JSON:
		return show.JSON(a.stdout, page)
	case len(page.Data) == 0:
		show.Lines(a.stdout, "No jobs.")
		return nil
	}
	rows := [][]string{{"ID", "STATUS", "DONE", "CREATED", "FILE"}}
	for _, j := range page.Data {
		rows = append(rows, []string{j.ID, string(j.Status), fmt.Sprintf("%d%%", int(j.Progress)), dateWords(j.CreatedAt), j.Filename})
	}
	if err := show.Table(a.stdout, rows); err != nil {
		return err
	}
	if page.NextCursor != "" {
		show.Lines(a.stderr, "There are more: see --limit.")
	}
	return nil
}

// jobCmd looks at one job, once or until its end.
type jobCmd struct {
	ID   string `arg:"" help:"Id of the job."`
	JSON bool   `name:"json" help:"Write the job as JSON to standard output, and nothing else."`
	Wait bool   `help:"Wait for the end of the job. The exit code tells how it ended."`
}

// Run shows a job. To ask how a job failed is no failure: only with --wait
// does its end decide the exit code.
func (k *jobCmd) Run(a *app) error {
	job, err := k.fetch(a)
	if err != nil {
		return err
	}
	if k.JSON {
		err = show.JSON(a.stdout, job)
	} else {
		show.Lines(a.stdout, describe(job)...)
	}
	if err == nil && k.Wait {
		return ended(job)
	}
	return err
}

// fetch returns the job as it is, or at its end. An interrupt ends the
// watching only: whoever asks about a job need not be its owner.
func (k *jobCmd) fetch(a *app) (apigpu.Job, error) {
	if !k.Wait {
		return a.client.Job(a.ctx, k.ID, 0)
	}
	m := newMeter(a.stderr)
	defer m.clear()
	job, err := a.client.Follow(a.ctx, k.ID, func(j apigpu.Job) { m.show(stepOf(j)) })
	if err != nil && a.ctx.Err() != nil {
		return job, &exitError{code: exitInterrupted, message: "Interrupted. The job goes on.", hint: "End it with: api-gpu cancel " + k.ID}
	}
	return job, err
}

// describe tells of a job in any state, a fact a line.
func describe(job apigpu.Job) []string {
	state := step{label: "Job   " + job.ID + "  " + phaseWords(job), percent: -1, note: jobNote(job)}
	if job.Status == apigpu.Running {
		state.percent = job.Progress
	}
	lines := []string{plainLine(state)}
	switch {
	case job.Status == apigpu.Succeeded:
		return append(lines, summary(job, "")...)
	case job.Error != nil:
		lines = append(lines, fmt.Sprintf("Error %s (%s)", job.Error.Message, job.Error.Code))
		if job.Error.Hint != "" {
			lines = append(lines, "      "+job.Error.Hint)
		}
	case !job.Status.Final():
		lines = append(lines, fmt.Sprintf("Link  %s (opens when the job is done)", job.VideoURL))
	}
	return append(lines, warningLines(job)...)
}

// cancelCmd ends one job.
type cancelCmd struct {
	ID   string `arg:"" help:"Id of the job."`
	JSON bool   `name:"json" help:"Write the job as JSON."`
}

// Run ends a job.
func (k *cancelCmd) Run(a *app) error {
	job, err := a.client.Cancel(a.ctx, k.ID)
	switch {
	case err != nil:
		return err
	case k.JSON:
		return show.JSON(a.stdout, job)
	case job.Status.Final():
		show.Lines(a.stdout, job.ID+" is canceled.")
	default:
		show.Lines(a.stdout, job.ID+" will end in a moment.")
	}
	return nil
}
