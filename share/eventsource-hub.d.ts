// Types of eventsource-hub.js. EventSource::Browser is its manual.

export interface ConnectOptions {
    withCredentials?: boolean;
    method?: string;
    /** For each attempt. */
    headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>);
    body?: BodyInit | null;
    signal?: AbortSignal;
    /** The id after which the stream begins. */
    lastEventId?: string | null;
    /** Share the stream with the other tabs of this origin: true by default for GET without headers. */
    share?: boolean;
    /** Only tabs with the same scope share a stream. */
    scope?: string;
    /** -n: how many of the last events a later tab is given. */
    start?: number;
    /** Characters of the last events that are kept for tabs that come back, 100 for each event beside its data; a million by default. */
    history?: number;
    /** Characters of the state that are kept for maps, 100 for each event beside its data; 16 million by default. */
    state?: number;
    /** The field of an event's JSON that is its key, where the hub does not show it. */
    key?: string;
    /** Seconds: a stream that is silent for longer is made anew. */
    keepalive?: number;
    /** The type of gap events; 'gap' by default. */
    gap?: string;
    /** The type of positions; 'position' by default. */
    position?: string;
    /** The URL of the script for the SharedWorker. */
    worker?: string | URL;
}

/** An error of a connection. After one with readyState CLOSED the connection has ended for good. */
export interface HubErrorEvent extends Event {
    /** The HTTP status of a refusal. */
    readonly status?: number;
}

/** A change of the transport. */
export interface TransportEvent extends Event {
    readonly transport: 'stream' | 'poll';
    /** Of a poll: mute, silent, refused or cut; of a stream empty. */
    readonly reason: string;
}

/** A change of a LiveMap. value is undefined if the key was forgotten. */
export interface ChangeEvent<V> extends Event {
    readonly key: string;
    readonly value: V | undefined;
    readonly previous: V | undefined;
}

/** The state of a channel, or its members, in the order of the newest events. */
export interface LiveMap<V = unknown> extends Map<string, V> {
    readonly ready: Promise<LiveMap<V>>;
    addEventListener(
        type: 'change',
        listener: ((event: ChangeEvent<V>) => void) | { handleEvent(event: ChangeEvent<V>): void } | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    removeEventListener(
        type: 'change',
        listener: ((event: ChangeEvent<V>) => void) | { handleEvent(event: ChangeEvent<V>): void } | null,
        options?: boolean | EventListenerOptions,
    ): void;
}

export interface MemberMap<V = unknown> extends LiveMap<V> {
    /** How many members a large room has (join => 'count'). An event 'count' says that it has changed. */
    readonly count?: number;
    addEventListener(
        type: 'change',
        listener: ((event: ChangeEvent<V>) => void) | { handleEvent(event: ChangeEvent<V>): void } | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    addEventListener(
        type: 'count',
        listener: ((event: Event) => void) | { handleEvent(event: Event): void } | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    removeEventListener(
        type: 'change',
        listener: ((event: ChangeEvent<V>) => void) | { handleEvent(event: ChangeEvent<V>): void } | null,
        options?: boolean | EventListenerOptions,
    ): void;
    removeEventListener(
        type: 'count',
        listener: ((event: Event) => void) | { handleEvent(event: Event): void } | null,
        options?: boolean | EventListenerOptions,
    ): void;
}

export interface Hub extends EventSource, AsyncIterable<MessageEvent> {
    readonly readyState: 0 | 1 | 2;
    readonly lastEventId: string;
    /** Whether the events come in a stream, or by polls: a proxy lets no stream through. */
    readonly transport: 'stream' | 'poll';
    /** Resolved by the first position; rejected if the stream is closed before. */
    readonly ready: Promise<Hub>;
    onmessage: ((this: EventSource, event: MessageEvent<string>) => unknown) | null;
    onerror: ((this: EventSource, event: HubErrorEvent) => unknown) | null;
    /** Without a channel: of all channels. */
    state<V = unknown>(channel?: string): LiveMap<V>;
    members<V = unknown>(channel?: string): MemberMap<V>;
    addEventListener(
        type: 'error',
        listener: ((event: HubErrorEvent) => void) | { handleEvent(event: HubErrorEvent): void } | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    addEventListener(
        type: 'transport',
        listener: ((event: TransportEvent) => void) | { handleEvent(event: TransportEvent): void } | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    addEventListener(
        type: 'open',
        listener: ((event: Event) => void) | { handleEvent(event: Event): void } | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    addEventListener(
        type: string,
        listener: ((event: MessageEvent<string>) => void) | EventListenerObject | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
    removeEventListener(
        type: 'error',
        listener: ((event: HubErrorEvent) => void) | { handleEvent(event: HubErrorEvent): void } | null,
        options?: boolean | EventListenerOptions,
    ): void;
    removeEventListener(
        type: 'transport',
        listener: ((event: TransportEvent) => void) | { handleEvent(event: TransportEvent): void } | null,
        options?: boolean | EventListenerOptions,
    ): void;
    removeEventListener(
        type: 'open',
        listener: ((event: Event) => void) | { handleEvent(event: Event): void } | null,
        options?: boolean | EventListenerOptions,
    ): void;
    removeEventListener(
        type: string,
        listener: ((event: MessageEvent<string>) => void) | EventListenerObject | null,
        options?: boolean | EventListenerOptions,
    ): void;
}

export function connect(url: string | URL, options?: ConnectOptions): Hub;

export interface ParsedEvent {
    readonly type: string;
    readonly data: string;
    readonly lastEventId: string;
}

/** Parses a stream piece by piece. */
export class Parser {
    constructor(onEvent: (event: ParsedEvent) => void, lastEventId?: string);
    /** The last id, also one of a block without data. */
    lastEventId: string;
    /** The last reconnection time in milliseconds. */
    retry?: number;
    push(text: string): void;
}
