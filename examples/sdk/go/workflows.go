package main

import (
	"errors"
	"strings"
	"time"

	"github.com/microsoft/durabletask-go/task"
)

// helloCities greets cities one after the other.
func helloCities(ctx *task.OrchestrationContext) (any, error) {
	var cities []string
	if err := ctx.GetInput(&cities); err != nil {
		return nil, err
	}
	if len(cities) == 0 {
		cities = []string{"Tokyo", "Seattle", "London"}
	}
	greetings := make([]string, len(cities))
	for i, city := range cities {
		call := ctx.CallActivity("say_hello", task.WithActivityInput(city))
		if err := call.Await(&greetings[i]); err != nil {
			return nil, err
		}
	}
	return greetings, nil
}

func sayHello(ctx task.ActivityContext) (any, error) {
	var city string
	if err := ctx.GetInput(&city); err != nil {
		return nil, err
	}
	return "Hello " + city + "!", nil
}

// fanOut counts the words of many texts at the same time and adds the counts up.
func fanOut(ctx *task.OrchestrationContext) (any, error) {
	var texts []string
	if err := ctx.GetInput(&texts); err != nil {
		return nil, err
	}
	// All of them are scheduled before the first result is awaited.
	calls := make([]task.Task, len(texts))
	for i, text := range texts {
		calls[i] = ctx.CallActivity("count_words", task.WithActivityInput(text))
	}
	sum := 0
	for _, call := range calls {
		var count int
		if err := call.Await(&count); err != nil {
			return nil, err
		}
		sum += count
	}
	return sum, nil
}

func countWords(ctx task.ActivityContext) (any, error) {
	var text string
	if err := ctx.GetInput(&text); err != nil {
		return nil, err
	}
	return len(strings.Fields(text)), nil
}

// approval waits for a person, but not for ever: the event "decision", or the time-out.
func approval(ctx *task.OrchestrationContext) (any, error) {
	var request struct {
		What    string  `json:"what"`
		Seconds float64 `json:"seconds"`
	}
	if err := ctx.GetInput(&request); err != nil {
		return nil, err
	}
	ctx.SetCustomStatus(`"waiting for a decision"`)
	timeout := time.Duration(request.Seconds * float64(time.Second))
	var approved bool
	err := ctx.WaitForSingleEvent("decision", timeout).Await(&approved)
	switch {
	case errors.Is(err, task.ErrTaskCanceled):
		return "nobody answered", nil
	case err != nil:
		return nil, err
	case approved:
		return "approved", nil
	default:
		return "refused", nil
	}
}

func registry() (*task.TaskRegistry, error) {
	r := task.NewTaskRegistry()
	return r, errors.Join(
		r.AddOrchestratorN("hello_cities", helloCities),
		r.AddOrchestratorN("fan_out", fanOut),
		r.AddOrchestratorN("approval", approval),
		r.AddActivityN("say_hello", sayHello),
		r.AddActivityN("count_words", countWords),
	)
}
