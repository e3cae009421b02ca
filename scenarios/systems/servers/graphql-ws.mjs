// A chat in GraphQL over WebSocket (graphql-transport-ws): `send` is a mutation, `messages` a
// subscription. In memory, as with the in-process PubSub that most tutorials use.
import { EventEmitter, on } from "node:events";
import {
  GraphQLBoolean,
  GraphQLNonNull,
  GraphQLObjectType,
  GraphQLSchema,
  GraphQLString,
} from "graphql";
import { useServer } from "graphql-ws/use/ws";
import { WebSocketServer } from "ws";

const rooms = new EventEmitter();
rooms.setMaxListeners(0);

const text = new GraphQLNonNull(GraphQLString);
const schema = new GraphQLSchema({
  query: new GraphQLObjectType({
    name: "Query",
    fields: { ready: { type: GraphQLBoolean, resolve: () => true } },
  }),
  mutation: new GraphQLObjectType({
    name: "Mutation",
    fields: {
      send: {
        type: GraphQLBoolean,
        args: { room: { type: text }, text: { type: text } },
        resolve: (_, { room, text }) => rooms.emit(room, text),
      },
    },
  }),
  subscription: new GraphQLObjectType({
    name: "Subscription",
    fields: {
      messages: {
        type: GraphQLString,
        args: { room: { type: GraphQLString } },
        async *subscribe(_, { room }) {
          for await (const [text] of on(rooms, room)) yield { messages: text };
        },
      },
    },
  }),
});

const port = Number(process.argv[2]);
const sockets = new WebSocketServer({ host: "127.0.0.1", port, path: "/graphql" });
useServer({ schema }, sockets);
