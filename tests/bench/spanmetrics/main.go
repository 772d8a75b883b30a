// Feeds OTLP bodies to the spanmetrics connector, on one core. Its argument is the connector's configuration, as JSON.
//
// Standard input holds rounds of bodies, each body after its size (four bytes, little-endian), each round ended by a
// size of zero. For each round it prints the CPU seconds of the process for unmarshalling and consuming them.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"syscall"

	"github.com/open-telemetry/opentelemetry-collector-contrib/connector/spanmetricsconnector"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/connector"
	"go.opentelemetry.io/collector/connector/connectortest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

func started(ctx context.Context, written string) (connector.Traces, error) {
	var config map[string]any
	if err := json.Unmarshal([]byte(written), &config); err != nil {
		return nil, err
	}
	factory := spanmetricsconnector.NewFactory()
	given := factory.CreateDefaultConfig()
	if err := confmap.NewFromStringMap(config).Unmarshal(given); err != nil {
		return nil, err
	}
	settings := connectortest.NewNopSettings(factory.Type())
	made, err := factory.CreateTracesToMetrics(ctx, settings, given, consumertest.NewNop())
	if err != nil {
		return nil, err
	}
	return made, made.Start(ctx, componenttest.NewNopHost())
}

// The bodies of one round; io.EOF after the last one.
func round(in io.Reader) (bodies [][]byte, err error) {
	for {
		var size uint32
		if err := binary.Read(in, binary.LittleEndian, &size); err != nil || size == 0 {
			return bodies, err
		}
		body := make([]byte, size)
		if _, err := io.ReadFull(in, body); err != nil {
			return nil, err
		}
		bodies = append(bodies, body)
	}
}

func cpuSeconds() float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		log.Fatal(err)
	}
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
}

func main() {
	runtime.GOMAXPROCS(1)
	ctx, decoder, in := context.Background(), ptrace.ProtoUnmarshaler{}, bufio.NewReader(os.Stdin)
	spanMetrics, err := started(ctx, os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for {
		bodies, err := round(in)
		if errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatal(err)
		}
		begun := cpuSeconds()
		for _, body := range bodies {
			traces, err := decoder.UnmarshalTraces(body)
			if err != nil {
				log.Fatal(err)
			}
			if err := spanMetrics.ConsumeTraces(ctx, traces); err != nil {
				log.Fatal(err)
			}
		}
		fmt.Println(cpuSeconds() - begun)
	}
}
