package Testing::Clients;
use Testing;

# Runs client libraries against a server through proxies that cut their streams, and compares what each delivers with what
# it is known to do (Testing::Clients::Expected). All clients run at once, each with a stream of each kind:
#
#   data     events with lines, characters, types: is the data exact?
#   early    the first connections are cut at once, or within the first block: does the client recover?
#   head     a connection is closed within the head of the response, behind the status line: does the client recover?
#   cuts     200 numbered events through many cuts at random bytes: does it deliver each of them once? Does it take the
#            first block of a stream or a keepalive for an event?
#   gap      events are evicted while it has no connection: does it see the gap event?
#   end      the application ends the stream, and then answers with 204: does the client come back for ever?
#   refused  the first request is answered with 429: does the client ask again?
#
#   Testing::Clients->run('Starman', compress => 1);
#   Testing::Clients->run('Starman', clients => ['curl']);

use Carp     qw(croak);
use JSON::PP ();
use Testing::Browser;
use Testing::Clients::Cases    qw(cases);
use Testing::Clients::Expected qw(clients coding expected runs);
use Testing::Clients::Install;
use Testing::CuttableProxy;
use Testing::Developer qw(has_command needs);
use Testing::Program;
use Testing::Server;
use Time::HiRes qw(sleep time);

my @PHASES   = qw(data early head cuts gap end refused);
my $DEADLINE = 60;                                         # seconds for everything
my $EVENTS   = 200;
my $BATCH    = 10;                                         # events that are published at once
my $CUTS     = 8;                                          # at random bytes
my $LONGEST  = 2_000;                                      # bytes before a cut, and before one of a compressed stream
my $CODED    = 400;
my $SEED     = 1_115;
my $PAUSE    = 0.05;                                       # seconds between two looks at all streams
my $FEW      = 3;                                          # events
my $ENOUGH   = 4;                                          # requests of a client that does not understand the end

my %FIRST_CUTS = (
    early => [[-1,  'reset'], [0, 'close'], [30, 'close']],
    head  => [[-21, 'close']],
);

my $JSON = JSON::PP->new->utf8;

# Class methods

# Runs all streams to their ends. Returns the results by client and by question.
sub measure {
    my $self = shift;
    $self->_start_clients;
    my $done    = eval { $self->_take_steps; 1 };
    my $error   = $@;
    my %results = map { ($_ => $self->_results($_)) } @{$self->{clients}};
    $_->{program}->stop for @{$self->{programs}};    # what they have printed is in the results
    $self->{browser}->stop if $self->{browser};
    die $error             if !$done;                ## no critic (RequireCarping) it has its line
    return \%results;
}

# Starts the server, the proxies and the clients.
sub new {
    my ($class, $name, $is_coded, @clients) = @_;
    my $node = Testing::Clients::Install->missing('node') ? '' : Testing::Clients::Install->path('node');
    my @args = $name eq 'Starman' ? ('--keepalive-timeout', 0) : ();    # its only worker serves everything
    my %env  = (
        CLIENTS_COMPRESS => $is_coded,
        CLIENTS_DATASTAR => Testing::Clients::Install->path('datastar'),
        CLIENTS_MODULES  => $node,
    );
    my %start  = (workers => 1, args => \@args, env => \%env);
    my $server = Testing::Server->start($name, 't/clients/clients.psgi', %start);
    my @names  = map {
        my $client = $_;
        map { "$client $_" } @PHASES
    } @clients;
    my $self = bless {
        is_coded => $is_coded,
        server   => $server,
        proxy    => {map { ($_ => Testing::CuttableProxy->start($server->port)) } @names},
        clients  => \@clients,
        lines    => {map { ($_ => []) } @names},
        programs => [],
    }, $class;
    $self->{machines} = {map { my $name = $_; ($name => [$self->_steps(split / (?=\w+\z)/, $name)]) } @names};
    return $self;
}

# Runs the clients that can run here, and makes a subtest of each. With compress the streams are compressed, for those that
# accept it: a fault that shows behind the line of an id may not show then.
sub run {
    my ($class, $name, %option) = @_;
    Testing::Server->require_or_skip_all($name);
    my @wanted  = @{$option{clients} // [clients()]};
    my %missing = map  { ($_ => _missing($_)) } @wanted;
    my @clients = grep { !defined $missing{$_} } @wanted;
    my $results = @clients ? $class->new($name, $option{compress} ? 1 : 0, @clients)->measure : {};
    for my $client (@wanted) {
        subtest $client => sub {
            return _skip($missing{$client}) if defined $missing{$client};
            my $expected = expected($client);
            is $results->{$client}{coding}, $option{compress} ? coding($client) : undef, 'the content coding';
            for my $what (sort keys %$expected) {
                next if $what eq 'cuts' && $option{compress} && !@{$results->{$client}{cuts}};
                is_deeply $results->{$client}{$what}, $expected->{$what}, $what
                    or diag explain $results->{$client}{$what};
            }
        };
    }
    return;
}

sub _add_line {
    my ($self, $name, $line) = @_;
    push @{$self->{lines}{$name} // croak "Clients: a line of '$name'"}, $line;
    return;
}

sub _ask {
    my ($self, $path, %query) = @_;
    my $query = join '&', map { "$_=$query{$_}" } sort keys %query;
    return $self->{server}->ask("$path?$query");
}

# The name of a client in an address.
sub _channel { return $_[0] =~ s/\W/-/gr }

sub _command {
    my $client  = shift;
    my $how     = runs($client);
    my $install = 'Testing::Clients::Install';
    return ($^X, 't/clients/curl')                                    if $how eq 'curl';
    return ($install->path('python'), 't/clients/python.py', $client) if $how eq 'python';
    return ($install->path('rust'), $client)                          if $how eq 'rust';
    return ('node', 't/clients/node.mjs', $install->path('node'), $client =~ /([0-9]+)\z/);
}

# The cuts of a client's stream, the same in every run: the numbers of a linear congruential generator.
# Compressed bytes show no line of an id.
sub _cuts {
    my ($name, $is_coded) = @_;
    my $longest = $is_coded ? $CODED : $LONGEST;
    my $state   = unpack('%32C*', $name) + $SEED;
    my @cuts;
    for my $number (1 .. $CUTS) {
        $state = ($state * 1_103_515_245 + 12_345) % 2**31;
        push @cuts, [int($state / 2**16) % $longest, $number % 2 ? 'close' : 'reset'];
    }
    splice @cuts, 3, 0, ['id', 'close'] if !$is_coded;
    return @cuts;
}

# Returns a step that is done when a client has delivered the event with that number.
sub _delivered {
    my ($self, $stream, $number) = @_;
    return sub { return $self->_has_number($stream->{name}, $number) };
}

# Writes the lines of a client to a file, for those who look for the cause of a failure.
sub _dump {
    my ($client, @lines) = @_;
    open my $file, '>', "$ENV{CLIENTS_DUMP}/$client" or croak "Clients: $ENV{CLIENTS_DUMP}/$client: $!";
    print {$file} $JSON->canonical->encode($_), "\n" for @lines;
    return;
}

# Escapes a value of a query.
sub _escaped {
    my ($name, $value) = split /=/, shift, 2;
    return "$name=" . $value =~ s/([^\w.-])/sprintf '%%%02X', ord $1/ger;
}

# The events of a stream, without the states.
sub _events {
    my ($self, $name) = @_;
    return grep { defined $_->{type} } @{$self->{lines}{$name}};
}

sub _form { return $_[0] eq 'Datastar' ? 'datastar' : 'plain' }

# True if a client has ended a stream for good.
sub _has_ended {
    my ($self, $name) = @_;
    return scalar grep { ($_->{state} // '') eq 'end' } @{$self->{lines}{$name}};
}

sub _has_number {
    my ($self, $name, $number) = @_;
    return scalar grep { $_->{data} =~ /\Anumber $number / } $self->_events($name);
}

# The hub of a client's stream.
sub _hub {
    my ($client, $phase) = @_;
    return 'datagap' if $phase eq 'gap' && $client eq 'Datastar';
    return $phase =~ /\A(?:cuts|early|head|refused)\z/ ? 'numbers' : $phase;
}

# Why a client cannot run here; undef if it can.
sub _missing {
    my $how = runs($_[0]);
    return has_command('curl') ? undef : 'curl is not installed' if $how eq 'curl';
    return Testing::Clients::Install->missing($how)              if $how ne 'browser';
    return Testing::Browser->missing // Testing::Clients::Install->missing($_[0] eq 'Datastar' ? 'datastar' : 'node');
}

# Returns a step that is done when it is looked at again.
sub _next_turn {
    my $turns = 0;
    return sub { return $turns++ };
}

# Returns a step that publishes the events with these numbers.
sub _publish {
    my ($self, $stream, $from, $to) = @_;
    return sub { $self->_ask('/publish', %{$stream->{query}}, from => $from, to => $to); return 1 };
}

# Reads what the clients have printed.
sub _read {
    my $self = shift;
    if ($self->{browser}) {
        $self->_add_line("$_->{client} $_->{phase}", $_) for @{$self->{browser}->evaluate('lines.splice(0)')};
    }
    for my $program (@{$self->{programs}}) {
        my $from = $program->{from};
        seek $from, 0, 1;    # past an end that was met before
        while (defined(my $line = readline $from)) {
            $program->{rest} .= $line;
            next if $program->{rest} !~ /\n\z/;
            my $text = $program->{rest};
            $program->{rest} = '';
            my $read = $text =~ /\A\{/ ? $JSON->decode($text) : next;
            $self->_add_line("$program->{client} $read->{phase}", $read);
        }
    }
    return;
}

sub _result_of_cuts {
    my ($self, $name) = @_;
    my (%seen, @order, @trouble);
    for my $event ($self->_events($name)) {
        next if $event->{data} !~ /\Anumber/ || $event->{type} eq 'position';
        my ($number, $rest) = $event->{data} =~ /\Anumber ([0-9]+) (x*)\z/;
        if (!defined $number || length $rest != 50 + $number % 7) { push @trouble, 'an event is not whole'; next }
        push @trouble, 'an event comes twice' if $seen{$number}++;
        push @trouble, 'an event comes late'  if @order && $number < $order[-1];
        push @order,   $number;
    }
    note "$name: ", join ' ', map { $_ // '-' } @{$self->{proxy}{$name}->state->{ids}};
    my @lost = grep { !$seen{$_} } 0 .. $EVENTS;
    push @trouble, @lost == 1 ? 'one event is lost' : 'events are lost' if @lost;
    my %once;
    return grep { !$once{$_}++ } @trouble;
}

# Pairs the events with those that were published. An event that is not the next expected one stands for it, unless one of
# the next few is, or it is one of the next few expected ones.
sub _result_of_data {
    my ($self, $name) = @_;
    my @events = grep { $_->{type} ne 'position' } $self->_events($name);
    my @cases  = cases();
    my $is     = sub {
        my ($event, $case) = @_;
        my $wanted = $name =~ /\ADatastar/ ? {type => 'message', data => $case->[1]{data}} : $case->[2];
        return $event && $event->{type} eq $wanted->{type} && $event->{data} eq $wanted->{data};
    };
    my @trouble;
    while (my $case = shift @cases) {
        my ($at) = grep { $is->($events[$_], $case) } 0 .. $FEW;
        if (defined $at) {
            push @trouble, map { "an event of type $_->{type} that was not sent" } splice @events, 0, $at;
            shift @events;
            next;
        }
        push @trouble, $case->[0];
        shift @events if !grep { $is->($events[0], $_) } @cases[0 .. ($#cases < $FEW ? $#cases : $FEW)];
    }
    my %once;
    return grep { !$once{$_}++ } @trouble, map { "an event of type $_->{type} that was not sent" } @events;
}

sub _result_of_early { my ($self, $name) = @_; return $self->_result_of_head($name) }

sub _result_of_end {
    my ($self, $name) = @_;
    my @numbers  = map { $_->{data} =~ /\Anumber ([0-9]+)/ ? $1 : () } $self->_events($name);
    my $requests = @{$self->{proxy}{$name}->state->{ids}};
    return (
        ("@numbers" eq '1 2 3' || $requests >= $ENOUGH ? () : "events @numbers"),
        ($requests >= $ENOUGH ? 'comes back for ever' : $requests == 1 ? 'does not come back' : ()),
    );
}

sub _result_of_gap {
    my ($self, $name) = @_;
    my @events =
        map { $_->{type} eq 'gap' ? 'gap' : $_->{data} =~ /\Anumber ([0-9]+)/ ? $1 : () } $self->_events($name);
    return "@events" eq '1 gap 9 10 11' ? () : "@events";
}

sub _result_of_head {
    my ($self, $name) = @_;
    return $self->_has_ended($name) ? 'gives up' : ();
}

sub _result_of_refused { my ($self, $name) = @_; return $self->_result_of_head($name) }

# What a client has made of its streams.
sub _results {
    my ($self, $client) = @_;
    _dump($client, map { @{$self->{lines}{"$client $_"}} } @PHASES) if $ENV{CLIENTS_DUMP};
    my %result = map { ($_ => [$self->can("_result_of_$_")->($self, "$client $_")]) } @PHASES;
    for my $phase (@PHASES) {
        my $steps = $self->{machines}{"$client $phase"} or next;
        unshift @{$result{$phase}}, 'waits in step -' . @$steps;
    }
    $result{coding}   = $self->{proxy}{"$client cuts"}->state->{coding};
    $result{harmless} = [$self->_strangers($client)];
    push @{$result{end}}, 'a cut looks like an end'
        if grep { ($_->{state} // '') eq 'closed' } @{$self->{lines}{"$client cuts"}};
    return \%result;
}

# A missing program is a failure where nothing may be missing; a missing registry is not.
sub _skip {
    my $trouble = shift;
    return $trouble =~ /is not installed/ ? needs($trouble) : plan(skip_all => $trouble);
}

# Starts each program with its streams, and the browser with a frame for each.
sub _start_clients {
    my $self = shift;
    my %url;
    for my $client (@{$self->{clients}}) {
        my $channel = _channel($client);
        for my $phase (@PHASES) {
            my $hub = $phase eq 'refused' ? $phase : _hub($client, $phase);
            $url{$client}{$phase} = "/stream/$hub?channel=$channel-$phase&form=" . _form($client);
        }
        next if runs($client) eq 'browser';
        my @streams = map { "$_=" . $self->{proxy}{"$client $_"}->url($url{$client}{$_}) } @PHASES;
        my $program = Testing::Program->new($client);
        $program->run({}, _command($client), @streams);
        open my $from, '<', $program->{log}->filename or croak "Clients: $!";
        push @{$self->{programs}}, {client => $client, program => $program, from => $from, rest => ''};
    }
    my @pages = grep { runs($_) eq 'browser' } @{$self->{clients}} or return;
    $self->{browser} = Testing::Browser->start;
    $self->{browser}->open($self->{server}->url('/parent'));
    for my $client (@pages) {
        for my $phase (@PHASES) {
            my $query = join '&', map { _escaped($_) } "client=$client", "phase=$phase", "url=$url{$client}{$phase}";
            my $url   = $self->{proxy}{"$client $phase"}->url("/page?$query");
            $self->{browser}->evaluate("add('$url'); 1");
        }
    }
    return;
}

# What is done with a stream, step by step: each returns true when it has done its part.
sub _steps {
    my ($self, $client, $phase) = @_;
    my %query  = (hub => _hub($client, $phase), channel => _channel($client) . "-$phase", form => _form($client));
    my $stream = {client => $client, phase => $phase, name => "$client $phase", query => \%query};
    my $steps  = "_steps_of_$phase";
    return $self->$steps($stream);
}

# The client has an event before the first cut, and so an id to resume from.
sub _steps_of_cuts {
    my ($self, $stream) = @_;
    my ($name, $reads)  = ($stream->{name}, 0);
    my $proxy   = $self->{proxy}{$name};
    my @batches = map { $self->_publish($stream, $_ * $BATCH + 1, ($_ + 1) * $BATCH) } 0 .. $EVENTS / $BATCH - 1;
    return (
        $self->_subscribed($stream, 1), $self->_publish($stream, 0, 0), $self->_delivered($stream, 0),
        sub { $proxy->plan(_cuts($stream->{client}, $self->{is_coded})); return 1 },
        (map { ($_, _next_turn()) } @batches),
        sub { return !$proxy->state->{left} },
        $self->_delivered($stream, $EVENTS),
        sub { $reads = $proxy->state->{reads}; return 1 },
        sub { return $proxy->state->{reads} >= $reads + 3 },    # keepalives
    );
}

sub _steps_of_data {
    my ($self, $stream) = @_;
    $self->_ask('/cases', %{$stream->{query}});
    return sub {
        return scalar grep { $_->{data} eq 'all sent' } $self->_events($stream->{name});
    };
}

sub _steps_of_early {
    my ($self, $stream) = @_;
    my $name  = $stream->{name};
    my $proxy = $self->{proxy}{$name};
    $proxy->plan(@{$FIRST_CUTS{$stream->{phase}} || []});
    my ($is_cut, @or_ended) = map {
        my $step = $_;
        sub { return $self->_has_ended($name) || $step->() }
    } sub { return !$proxy->state->{left} }, $self->_subscribed($stream, 1), $self->_delivered($stream, 3);
    return ($is_cut, $or_ended[0], $self->_publish($stream, 1, 3), $or_ended[1]);
}

sub _steps_of_end {
    my ($self, $stream) = @_;
    return sub {
        return $self->_has_ended($stream->{name}) || @{$self->{proxy}{$stream->{name}}->state->{ids}} >= $ENOUGH;
    };
}

sub _steps_of_gap {
    my ($self, $stream) = @_;
    my $proxy = $self->{proxy}{$stream->{name}};
    return (
        $self->_subscribed($stream, 1),
        $self->_publish($stream, 1, 1),
        $self->_delivered($stream, 1),
        sub { $proxy->hold; return 1 },
        $self->_subscribed($stream, 0),
        $self->_publish($stream, 2, 11),
        sub { $proxy->release; return 1 },
        $self->_delivered($stream, 11)
    );
}

sub _steps_of_refused { my ($self, $stream) = @_; return $self->_steps_of_early($stream) }

sub _steps_of_head { my ($self, $stream) = @_; return $self->_steps_of_early($stream) }

# Events that nobody has published: an untyped one from the first block of a stream or from a keepalive.
sub _strangers {
    my ($self, $client) = @_;
    my %seen;
    for my $phase (qw(early cuts gap end)) {
        my $after = $phase eq 'end' ? ' after a retry alone' : '';
        for my $event ($self->_events("$client $phase")) {
            next if $event->{data} =~ /\Anumber/ || $event->{type} =~ /\A(?:finish|gap|position)\z/;
            $seen{(length $event->{data} ? "$event->{type}: $event->{data}" : "an empty $event->{type}") . $after}++;
        }
    }
    my @strangers = sort keys %seen;
    return @strangers;
}

# Returns a step that is done when the hub has that many subscribers to the stream's channel.
sub _subscribed {
    my ($self, $stream, $count) = @_;
    return sub { return $self->_ask('/subscribers', %{$stream->{query}}) == $count };
}

# Takes the steps of all streams until they are done, or the time is up.
sub _take_steps {
    my $self     = shift;
    my $machines = $self->{machines};
    my $started  = time;
    my $deadline = $started + $DEADLINE;
    while (time < $deadline) {
        $self->_read;
        for my $name (sort keys %$machines) {
            my $steps = $machines->{$name};
            while (@$steps && $steps->[0]->()) { shift @$steps }
            next if @$steps;
            delete $machines->{$name};
            note sprintf '%s: done after %.1f s', $name, time - $started;
        }
        last if !%$machines;
        sleep $PAUSE;
    }
    return;
}

1;
