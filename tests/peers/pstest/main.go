// Google's in-memory Pub/Sub server (pstest), spoken to as the REST API: pstest itself has gRPC alone.
// Prints its address; ends when its standard input does.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// The HTTP statuses of google.rpc.Code, for those that the server answers with.
var statuses = map[codes.Code]int{
	codes.InvalidArgument: 400, codes.FailedPrecondition: 400, codes.NotFound: 404, codes.AlreadyExists: 409,
	codes.Unavailable: 503, codes.DeadlineExceeded: 504, codes.Unimplemented: 501,
}

type call func(ctx context.Context, name string, body []byte) (proto.Message, error)

func rest[Request, Answer proto.Message](
	empty Request, named func(Request, string), method func(context.Context, Request) (Answer, error),
) call {
	return func(ctx context.Context, name string, body []byte) (proto.Message, error) {
		request := proto.Clone(empty).(Request)
		if err := protojson.Unmarshal(body, request); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		named(request, name)
		return method(ctx, request)
	}
}

func main() {
	server := pstest.NewServer()
	defer server.Close()
	g := &server.GServer
	calls := map[string]call{
		"PUT topics": rest(&pubsubpb.Topic{}, func(r *pubsubpb.Topic, n string) { r.Name = n }, g.CreateTopic),
		"PUT subscriptions": rest(&pubsubpb.Subscription{},
			func(r *pubsubpb.Subscription, n string) { r.Name = n }, g.CreateSubscription),
		"DELETE subscriptions": rest(&pubsubpb.DeleteSubscriptionRequest{},
			func(r *pubsubpb.DeleteSubscriptionRequest, n string) { r.Subscription = n }, g.DeleteSubscription),
		"POST publish": rest(&pubsubpb.PublishRequest{},
			func(r *pubsubpb.PublishRequest, n string) { r.Topic = n }, g.Publish),
		"POST pull": rest(&pubsubpb.PullRequest{},
			func(r *pubsubpb.PullRequest, n string) { r.Subscription = n }, g.Pull),
		"POST acknowledge": rest(&pubsubpb.AcknowledgeRequest{},
			func(r *pubsubpb.AcknowledgeRequest, n string) { r.Subscription = n }, g.Acknowledge),
		"POST modifyAckDeadline": rest(&pubsubpb.ModifyAckDeadlineRequest{},
			func(r *pubsubpb.ModifyAckDeadlineRequest, n string) { r.Subscription = n }, g.ModifyAckDeadline),
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("http://%s\n", listener.Addr())
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(calls, w, r) }))
	io.Copy(io.Discard, os.Stdin)
}

func answer(calls map[string]call, w http.ResponseWriter, r *http.Request) {
	name, verb, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/"), ":")
	if parts := strings.Split(name, "/"); verb == "" && len(parts) == 4 {
		verb = parts[2]
	}
	body, _ := io.ReadAll(r.Body)
	if len(body) == 0 {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json")
	method, known := calls[r.Method+" "+verb]
	if !known {
		refuse(w, status.Error(codes.Unimplemented, "no such method"))
		return
	}
	message, err := method(r.Context(), name, body)
	if err != nil {
		refuse(w, err)
		return
	}
	text, err := protojson.Marshal(message)
	if err != nil {
		panic(err)
	}
	w.Write(text)
}

func refuse(w http.ResponseWriter, err error) {
	is := status.Convert(err)
	code, known := statuses[is.Code()]
	if !known {
		code = 500
	}
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": code, "message": is.Message()}})
}
