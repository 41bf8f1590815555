// Advertises devices that do not exist, so that requests for them are scheduled for real.
//
//	gpu-plugin -dir KUBELET/plugins_registry nvidia.com/gpu=2 amd.com/gpu=1
//
// One socket for each resource lies in the kubelet's plugin registry folder, which the kubelet watches: it
// comes back by itself after a restart of either side. A container learns its devices by an environment
// variable. SIGUSR1 marks the first device of each resource unhealthy, SIGUSR2 mends it.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"google.golang.org/grpc"
	devices "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

type plugin struct {
	devices.UnimplementedDevicePluginServer
	registration.UnimplementedRegistrationServer

	resource string
	vendor   string
	socket   string

	mutex   sync.Mutex
	devices []*devices.Device
	changed chan struct{}
}

func newPlugin(folder, argument string) (*plugin, error) {
	resource, text, found := strings.Cut(argument, "=")
	count, err := strconv.Atoi(text)
	if !found || err != nil || count < 1 {
		return nil, fmt.Errorf("%q: write RESOURCE=COUNT, such as nvidia.com/gpu=2", argument)
	}
	vendor := strings.ToUpper(strings.SplitN(resource, ".", 2)[0])
	made := &plugin{
		resource: resource,
		vendor:   vendor,
		socket:   filepath.Join(folder, strings.ReplaceAll(resource, "/", "-")+".sock"),
		changed:  make(chan struct{}),
	}
	for number := range count {
		made.devices = append(made.devices, &devices.Device{ID: fmt.Sprintf("%s-%d", vendor, number), Health: devices.Healthy})
	}
	return made, nil
}

func (p *plugin) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.DevicePlugin,
		Name:              p.resource,
		Endpoint:          p.socket,
		SupportedVersions: []string{devices.Version},
	}, nil
}

func (p *plugin) NotifyRegistrationStatus(_ context.Context, status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	log.Printf("%s: registered=%v %s", p.resource, status.PluginRegistered, status.Error)
	return &registration.RegistrationStatusResponse{}, nil
}

func (p *plugin) GetDevicePluginOptions(context.Context, *devices.Empty) (*devices.DevicePluginOptions, error) {
	return &devices.DevicePluginOptions{}, nil
}

func (p *plugin) ListAndWatch(_ *devices.Empty, stream devices.DevicePlugin_ListAndWatchServer) error {
	for {
		answer, changed := p.snapshot()
		if err := stream.Send(answer); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (p *plugin) snapshot() (*devices.ListAndWatchResponse, chan struct{}) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	answer := &devices.ListAndWatchResponse{}
	for _, device := range p.devices {
		answer.Devices = append(answer.Devices, &devices.Device{ID: device.ID, Health: device.Health})
	}
	return answer, p.changed
}

func (p *plugin) Allocate(_ context.Context, request *devices.AllocateRequest) (*devices.AllocateResponse, error) {
	answer := &devices.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		answer.ContainerResponses = append(answer.ContainerResponses, &devices.ContainerAllocateResponse{
			Envs: map[string]string{p.vendor + "_VISIBLE_DEVICES": strings.Join(container.DevicesIds, ",")},
		})
	}
	return answer, nil
}

func (p *plugin) setHealth(health string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.devices[0].Health = health
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *plugin) serve() error {
	if err := os.RemoveAll(p.socket); err != nil {
		return err
	}
	listener, err := net.Listen("unix", p.socket)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	devices.RegisterDevicePluginServer(server, p)
	registration.RegisterRegistrationServer(server, p)
	return server.Serve(listener)
}

func main() {
	folder := flag.String("dir", "", "the kubelet's plugins_registry folder")
	flag.Parse()
	var plugins []*plugin
	for _, argument := range flag.Args() {
		made, err := newPlugin(*folder, argument)
		if err != nil {
			log.Fatal(err)
		}
		plugins = append(plugins, made)
	}
	for _, one := range plugins {
		go func() { log.Fatal(one.serve()) }()
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGINT, syscall.SIGTERM)
	for received := range signals {
		switch received {
		case syscall.SIGUSR1, syscall.SIGUSR2:
			health := devices.Healthy
			if received == syscall.SIGUSR1 {
				health = devices.Unhealthy
			}
			for _, one := range plugins {
				one.setHealth(health)
			}
		default:
			for _, one := range plugins {
				_ = os.Remove(one.socket)
			}
			return
		}
	}
}
