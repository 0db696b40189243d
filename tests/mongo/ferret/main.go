// SPDX-License-Identifier: Apache-2.0

// A MongoDB server over SQLite: ferret DIRECTORY. It prints its address, and
// ends when its standard input does.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/FerretDB/FerretDB/ferretdb"
)

// freePort is free now; who takes it in between makes the start fail.
func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

func run() error {
	addr := os.Getenv("FERRET_LISTEN")
	if addr == "" {
		var err error
		if addr, err = freePort(); err != nil {
			return err
		}
	}
	f, err := ferretdb.New(&ferretdb.Config{
		Listener:  ferretdb.ListenerConfig{TCP: addr},
		Handler:   "sqlite",
		SQLiteURL: "file:" + os.Args[1] + "/",
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	fmt.Println(addr)
	return f.Run(ctx)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
