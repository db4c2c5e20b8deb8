package EventSource::Server;
use strict;
use warnings;

# One supply of events, any number of clients: a channel of a hub, something that is read into it, and a PSGI application
# that sends it out.

our $VERSION = '0.100';

use Carp qw(croak);
use EventSource::Hub;
use EventSource::Hub::App;
use EventSource::Server::Emitter;
use EventSource::Server::Event;
use EventSource::Server::Loop;
use EventSource::Server::Source;
use EventSource::Server::Supply;
use EventSource::Stream::Relay;
use Scalar::Util    qw(weaken);

use overload '&{}' => sub { $_[0]->to_app }, bool => sub { !!1 }, fallback => 1;

# What is wrong is wrong where this was called.
our @CARP_NOT = qw(EventSource::Hub EventSource::Stream Plack::App::EventSource Plack::Component);

my @OF_HUB     = qw(gap_event history history_in_all on_slow per_process);
my @OF_STREAMS = qw(linger max_streams native preamble retry timeout);
my %KNOWN = map { ($_ => 1) } @OF_HUB, @OF_STREAMS, qw(channel headers hub keepalive keepalive_interval start supply);

# As a Raku program writes it, and as its documentation does.
my %ALSO = map { ($_ => 'keepalive_interval') } qw(keepalive-interval keepalive-frequency keepalive_frequency);

my $CHANNEL = 'events';    # of a hub that nobody else knows

sub new {
    my ($class, @options) = @_;
    my $self = bless {taps => {}, streams => {}, process => $$}, $class;
    $self->_take_options(@options);
    my %option = %{$self->{option}};
    $self->{source} = EventSource::Server::Source->new($option{supply}) if defined $option{supply};
    $self->{hub}    = $option{hub} || $self->_own_hub;
    $self->{app}    = $self->_streams;
    $self->{app}->prepare_app;
    return $self;
}

# Public methods

sub call {
    my ($self, $env) = @_;
    return [204, [], []] if $self->{is_stopped};
    my $trouble = $self->_cannot_read($env);
    croak "EventSource::Server: $trouble" if defined $trouble;
    return $self->{app}->call($env);
}

sub emit {
    my ($self, @event) = @_;
    return $self->_publish(EventSource::Server::Event->fields_of(@event));
}

# As the original's, and what keeps nginx from holding events back.
sub headers {
    my $self  = shift;
    my @given = @{$self->{option}{headers} || []};
    my @own   = (
        'Cache-Control' => 'must-revalidate, no-cache',
        'Content-Type'  => 'text/event-stream; charset=utf-8',
    );
    my $has_buffering = grep { !($_ % 2) && lc $given[$_] eq 'x-accel-buffering' } 0 .. $#given;
    push @own, 'X-Accel-Buffering' => 'no' if !$has_buffering;
    return [@own, @given];
}

sub hub { return $_[0]{hub} }

sub out_supply { return EventSource::Server::Supply->new($_[0]) }

sub stop {
    my $self = shift;
    return if $self->{is_stopped};
    $self->{is_stopped} = 1;
    my $run = delete $self->{run};
    $run->close if $run;
    $self->_end_taps('done');
    $self->_end_streams('application');
    return;
}

sub supply { return $_[0]{option}{supply} }

sub to_app {
    my $self = shift;
    return sub { $self->call(@_) };
}

# An object that nobody has any more can emit nothing; its clients are not to wait for that.
sub DESTROY {
    my $self = shift;
    return if ${^GLOBAL_PHASE} eq 'DESTRUCT' || $self->{process} != $$;
    local ($@, $!, $?);
    eval { $self->stop; 1 } or warn "EventSource::Server: $@";
    return;
}

# Private methods

sub _add_tap {
    my ($self, $tap) = @_;
    return $tap->_end('done') if $self->{is_stopped};
    $tap->{number} = ++$self->{made};
    $self->{taps}{$tap->{number}} = $tap;
    my $loop = EventSource::Server::Loop->at_hand;
    $self->_keep_taps_alive($loop) if $loop && $self->{option}{keepalive};
    $self->_start($loop);
    return;
}

# Why the supply cannot be read under the server that sent this request; undef if it can, or need not be.
sub _cannot_read {
    my ($self, $env) = @_;
    $self->_settle_process;
    return if !$self->{source} || !$self->{source}->needs_loop || $self->{run};
    return if $env->{'psgi.nonblocking'} && EventSource::Server::Loop->at_hand;
    my $kind = $self->{source}->kind eq 'handle' ? 'a filehandle' : 'an iterator';
    return "$kind as supply is read by an event loop, which this server does not have";
}

sub _check {
    my $option   = shift;
    my $interval = $option->{keepalive_interval};
    croak 'EventSource::Server: keepalive_interval must be a number of seconds above 0'
        if $interval !~ /\A(?:[0-9]+\.?[0-9]*|\.[0-9]+)\z/ || $interval == 0;
    croak 'EventSource::Server: headers must be an array of names and values'
        if defined $option->{headers} && (ref $option->{headers} ne 'ARRAY' || @{$option->{headers}} % 2);
    return                                                     if !defined $option->{hub};
    croak 'EventSource::Server: a hub has channels; say which' if !defined $option->{channel};
    for my $name (@OF_HUB) {
        croak "EventSource::Server: $name is the hub's to know" if defined $option->{$name};
    }
    return;
}

sub _end_streams {
    my ($self, $why) = @_;
    $self->_settle_process;
    my @streams = values %{$self->{streams}};
    $self->{streams} = {};
    $_->close($why) for @streams;
    return;
}

sub _end_taps {
    my ($self, @how) = @_;
    my $taps = $self->{taps};
    $_->_end(@how) for @$taps{sort { $a <=> $b } keys %$taps};
    return;
}

# Takes in one client: it follows, then the supply begins, so that it has the first event; where only this handler can
# serve it, that comes last.
sub _join {
    my ($self, $conn, $env) = @_;
    $self->_settle_process;
    return $conn->close if $self->{is_stopped};
    my $stream = $conn->{stream};
    my $name   = ++$self->{made};
    $self->{streams}{$name} = $stream;
    weaken(my $still = $self);
    $conn->on_close(sub { delete $still->{streams}{$name} if $still });
    my $option = {start => $self->{option}{start}, after => EventSource::Hub::App->_last_event_id($env)};
    $self->{hub}->_begin($stream, undef, $self->{channel}, $option);
    $self->_start(scalar EventSource::Server::Loop->at_hand, $env);
    EventSource::Stream::Relay->of($stream)->serve if EventSource::Hub::_is_served($stream) && $stream->is_open;
    return;
}

# A comment for the taps now and then, as long as there are any. Streams have their own.
sub _keep_taps_alive {
    my ($self, $loop) = @_;
    return if $self->{keepalive};
    weaken $self;
    $self->{keepalive} =
        $loop->every($self->{option}{keepalive_interval}, sub { $_->_give_bytes(":\n\n") for values %{$self->{taps}} });
    return;
}

sub _own_hub {
    my $self   = shift;
    my %option = map { defined $self->{option}{$_} ? ($_ => $self->{option}{$_}) : () } @OF_HUB;
    $option{per_process} = 1 if !defined $option{per_process} && $self->{source};    # each process runs it
    return EventSource::Hub->new(%option);
}

sub _publish {
    my ($self, $fields) = @_;
    return if $self->{is_stopped};
    my $id   = $self->{hub}->publish($self->{channel}, $fields);
    my $taps = $self->{taps};
    if (%$taps) {
        my $bytes;
        my $encode = sub { $bytes = EventSource::Server::Event->new($fields)->encode if !defined $bytes; $bytes };
        $_->_give($fields, $encode) for grep { defined } @$taps{sort { $a <=> $b } keys %$taps};
    }
    return $id;
}

sub _remove_tap {
    my ($self, $tap) = @_;
    delete $self->{taps}{$tap->{number}} if $tap->{number};    # one that came too late has none
    delete $self->{keepalive} if !%{$self->{taps}};
    return;
}

# A child has the parent's clients and its run of the supply by name only.
sub _settle_process {
    my $self = shift;
    return if $self->{process} == $$;
    $self->{process} = $$;
    $self->{streams} = {};
    delete @$self{qw(keepalive run)};
    return;
}

# Begins the supply, unless it has begun in this process. In trouble: tells whom.
sub _start {
    my ($self, $loop, $env) = @_;
    $self->_settle_process;
    return if !$self->{source} || $self->{run};
    weaken(my $still = $self);
    my $run = $self->{run} = EventSource::Server::Emitter->new(
        on_event => sub { $still && $still->_publish($_[0]) },
        on_done  => sub { },
        on_quit  => sub { $still && $still->_supply_failed(@_) },
    );
    local $self->{errors} = $env && $env->{'psgi.errors'};
    local $@;
    eval { $self->{source}->begin($run, $loop); 1 } or $run->quit($@);
    return;
}

# The application that streams run on.
sub _streams {
    my $self   = shift;
    my %option = %{$self->{option}};
    weaken $self;
    return EventSource::Server::Streams->new(
        (map { defined $option{$_} ? ($_ => $option{$_}) : () } @OF_STREAMS),
        keepalive  => $option{keepalive} ? $option{keepalive_interval} : 0,
        server     => $self,
        handler_cb => sub { $self ? $self->_join(@_) : $_[0]->close },
    );
}

sub _supply_failed {
    my ($self, $run, $why) = @_;
    my $text = eval { "$why" };
    $text = 'of a ' . ref($why) . ' that cannot be made a string' if !defined $text;
    utf8::encode($text) if $text =~ /[^\x00-\xFF]/;
    chomp $text;
    $text = "EventSource::Server: the supply died: $text\n";
    if   ($self->{errors}) { $self->{errors}->print($text) }
    else                   { warn $text }
    delete $self->{run} if $self->{source}->is_repeatable;
    $self->_end_taps(quit => $why);
    $self->_end_streams('error');
    return;
}

# A hash of what was asked for, by the names that are ours.
sub _take_options {
    my ($self, @options) = @_;
    my $options = @options == 1 ? $options[0] : @options % 2 ? undef : {@options};
    croak 'EventSource::Server: new takes names and values, or a hash of them' if ref $options ne 'HASH';
    my %option = (keepalive_interval => 60);
    for my $given (sort keys %$options) {
        my $name = $ALSO{$given} || $given;
        croak "EventSource::Server: there is no option '$given'" if !$KNOWN{$name};
        $option{$name} = $options->{$given}                      if defined $options->{$given};
    }
    _check(\%option);
    $self->{option}  = \%option;
    $self->{channel} = defined $option{channel} ? $option{channel} : $CHANNEL;
    return;
}

# Streams with the headers of their server.
package EventSource::Server::Streams;
use parent 'Plack::App::EventSource';
use Plack::Util::Accessor qw(server);
use Scalar::Util          qw(weaken);

sub new {
    my ($class, @attributes) = @_;
    my $self = $class->SUPER::new(@attributes);
    weaken $self->{server};
    return $self;
}

sub _response_headers { return $_[0]->server->headers }

1;
