// Workflows for the Go SDK, and a client for them:
//
//	go run . worker                   serves the workflows of this folder
//	go run . start NAME [INPUT [ID]]  starts an instance, prints its id
//	go run . wait ID                  waits for its end, prints status and output
//	go run . raise ID EVENT [DATA]    raises an event
//
// INPUT and DATA are JSON. The endpoint is $TASKHUB_RPC, else localhost:4001. This SDK cannot say
// what it serves: the worker is sent everything in the hub, so let it have the hub for itself.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/microsoft/durabletask-go/api"
	"github.com/microsoft/durabletask-go/backend"
	"github.com/microsoft/durabletask-go/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

func worker(ctx context.Context, c *client.TaskHubGrpcClient, endpoint string) error {
	tasks, err := registry()
	if err != nil {
		return err
	}
	if err := c.StartWorkItemListener(ctx, tasks); err != nil {
		return err
	}
	fmt.Println("serving", endpoint)
	<-ctx.Done()
	return nil
}

func start(ctx context.Context, c *client.TaskHubGrpcClient, name, input, id string) error {
	var options []api.NewOrchestrationOptions
	if input != "" {
		options = append(options, api.WithRawInput(input))
	}
	if id != "" {
		options = append(options, api.WithInstanceID(api.InstanceID(id)))
	}
	started, err := c.ScheduleNewOrchestration(ctx, name, options...)
	if err == nil {
		fmt.Println(started)
	}
	return err
}

func wait(ctx context.Context, c *client.TaskHubGrpcClient, id string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	end, err := c.WaitForOrchestrationCompletion(ctx, api.InstanceID(id))
	if err != nil {
		return err
	}
	status := strings.TrimPrefix(end.RuntimeStatus.String(), "ORCHESTRATION_STATUS_")
	output := json.RawMessage(end.SerializedOutput)
	if len(output) == 0 {
		output = json.RawMessage("null")
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"status": status, "output": output})
}

func raise(ctx context.Context, c *client.TaskHubGrpcClient, id, event, data string) error {
	var options []api.RaiseEventOptions
	if data != "" {
		options = append(options, api.WithRawEventData(data))
	}
	return c.RaiseEvent(ctx, api.InstanceID(id), event, options...)
}

func run(arguments []string) error {
	endpoint := os.Getenv("TASKHUB_RPC")
	if endpoint == "" {
		endpoint = "localhost:4001"
	}
	connection, err := grpc.Dial(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	c := client.NewTaskHubGrpcClient(connection, backend.DefaultLogger())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	// Arguments that were left out are empty.
	var a [4]string
	copy(a[:], arguments)
	switch {
	case a[0] == "worker":
		return worker(ctx, c, endpoint)
	case a[0] == "start" && a[1] != "":
		return start(ctx, c, a[1], a[2], a[3])
	case a[0] == "wait" && a[1] != "":
		return wait(ctx, c, a[1])
	case a[0] == "raise" && a[2] != "":
		return raise(ctx, c, a[1], a[2], a[3])
	}
	return errors.New("usage: worker | start NAME [INPUT [ID]] | wait ID | raise ID EVENT [DATA]")
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
