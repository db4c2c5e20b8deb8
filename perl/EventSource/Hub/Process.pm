package EventSource::Hub::Process;
use strict;
use warnings;

# A connection to a hub process that takes the hub as it is: for commands and jobs, which have no settings for it and
# no streams of clients. It waits for each answer and has no thread. The connection is native: _connect and _call are in
# src/xs.

our $VERSION = '0.100';

use EventSource::Error;
use EventSource::XS ();
use EventSource::XS::Hub::ChannelNames;
use EventSource::XS::Hub::Forgotten;
use EventSource::XS::Hub::HubName;
use EventSource::XS::Hub::Log;
use EventSource::XS::Hub::Member;
use EventSource::XS::Hub::Name;
use EventSource::XS::Hub::Pattern;
use EventSource::XS::Hub::Subscription;
use EventSource::XS::Settings;
use File::Spec    ();
use JSON::MaybeXS ();
use Scalar::Util  qw(blessed);
use Socket        qw(SOCK_STREAM SOL_SOCKET SO_TYPE);
use Time::HiRes   ();

my $SETTINGS = EventSource::XS::Settings->new(__PACKAGE__);
my $JSON = JSON::MaybeXS->new(utf8 => 0, allow_nonref => 1, allow_blessed => 0, convert_blessed => 1, canonical => 1);

# eventsource-hub, beside the native library.
my $PROGRAM = 'eventsource-hub';

my @FIELDS = qw(data event id json key once retain retry);

# The texts of counts; the others are numbers.
my %IS_TEXT = map { ($_ => 1) } qw(kind last_error place);

my @OF_CHANNEL = qw(subscribers events bytes keys);

# Public methods

sub answers {
    my $self    = shift;
    my @answers = $self->_ask('answers');
    my @results;
    while (my ($id, $error, $code) = splice @answers, 0, 3) {
        push @results, length $id ? {id => $id} : {error => _characters($error), code => $code};
    }
    return @results;
}

sub begin_publish {
    my ($self, $channel, $event) = @_;
    $self->_ask('publish', $self->_publication($channel, $event));
    return;
}

sub channels {
    my ($self, $pattern, $code) = @_;
    my $from = 0;
    while (length $from) {
        ($from, my @found) = $self->_ask('channels', $pattern, $from);
        while (my ($name, @values) = splice @found, 0, @OF_CHANNEL + 2) {
            my %channel = (name => _characters($name), last_id => pop @values);
            @channel{@OF_CHANNEL} = map { $_ + 0 } @values;
            $code->(\%channel);
        }
    }
    return;
}

sub connect {
    my ($class, @given) = @_;
    my %native = $class->_checked('connect', \@given, qw(name show_channel socket spawn timeout));
    my $way    = EventSource::XS::Hub::ChannelNames->way(delete $native{show_channel});
    my $spawn  = delete $native{spawn};
    $native{program}        = !defined $spawn || $spawn ? $class->program : '';
    $native{needs_settings} = !defined $spawn;
    my %place = map { length $native{$_} ? ($_ => $native{$_}) : () } qw(name socket timeout);
    my $self  = bless {process => $$, place => \%place, show_channel => $way}, $class;
    $self->_connect(\%native);
    @$self{qw(pid epoch gap_event position_event)} = map { _characters($_) } $self->_ask('welcome');
    return $self;
}

sub drain {
    my ($self, $seconds) = @_;
    $SETTINGS->refuse(seconds => 'drain takes a number of seconds') if !$SETTINGS->is_seconds($seconds);
    $self->_ask('drain', $seconds);
    return;
}

sub end {
    my ($self, @given) = @_;
    my ($labels, $topics, $finish) = EventSource::XS::Hub::Subscription->options_of_end(@given);
    my ($count) = do {
        local $SIG{__DIE__};
        eval {
            $self->_ask('end', $finish, (map { (label => $_) } @$labels), map { _topic($_) } @$topics);
        };
    };
    return $count if defined $count;
    my $error = $@;
    die $error if !blessed $error || $error->code ne 'unknown';
    my $problem = $self->_problem_of_store or die $error;
    return EventSource::Error->throw(
        code    => 'unknown',
        message => __PACKAGE__
            . ": the streams of this machine have ended, those of others when their hubs know: $problem"
    );
}

sub epoch { return $_[0]{epoch} }

sub follow {
    my ($self, $socket, @topics) = @_;
    my %option = ref $topics[-1] eq 'HASH' ? %{pop @topics} : ();
    $SETTINGS->known(\%option, [qw(after start)], 'option %s');
    $SETTINGS->refuse(channels => 'there is no channel to follow') if !@topics;
    my ($kind, $last) = EventSource::XS::Hub::Subscription->start($option{start});
    my $after = defined $option{after} && length $option{after} ? $option{after} : undef;
    my @start = ((EventSource::XS::Hub::Subscription->kinds_of_start)[$kind], $last);
    $self->_ask('follow', _number_of($socket), @start, $after, map { _topic($_) } @topics);
    return;
}

sub forget {
    my ($self, $channel, $key, $event) = @_;
    return $self->publish($channel, EventSource::XS::Hub::Forgotten->event($key, $event, $self->{show_channel}));
}

sub gap_event { return $_[0]{gap_event} }

sub log {
    my ($class, @given) = @_;
    ($class, @given) = (ref $class, %{$class->{place}}) if ref $class;
    my %place = $class->_checked('log', \@given, qw(name socket timeout));
    my $name  = $place{name};
    my $wrong = EventSource::XS::Hub::HubName->problem($name);
    $SETTINGS->refuse(name => "name $wrong") if defined $wrong;
    my @sockets = length $place{socket} ? $place{socket} : map { "$_/$name.sock" } @{_folders()};
    my $lines   = EventSource::XS::Hub::Log->lines_of(map { "$_.log" } @sockets);
    return @$lines if $lines;
    return EventSource::Error->throw(
        code    => 'unavailable',
        message => "EventSource::Hub::Process: there is no log of the hub $name: no process of this user has served it"
            . " ($sockets[0].log)"
    );
}

sub members {
    my ($self, $channel) = @_;
    my ($name, $from, @members) = (_name($channel), '');
    do {
        ($from, my @found) = $self->_ask('members', $name, $from);
        while (my @member = splice @found, 0, 5) {
            push @members, EventSource::XS::Hub::Member->info_of(map { _characters($_) } @member);
        }
        $from = _characters($from);
    } while length $from;
    return @members;
}

sub names {
    my $class = shift;
    $class->_check_system;
    my %is_listening;
    for my $folder (@{_folders()}) {
        opendir my $entries, $folder or next;
        my @names = map { /\A(.+)[.]sock\z/ ? $1 : () } readdir $entries;
        $is_listening{$_} = 1 for grep { _is_listening("$folder/$_.sock") } @names;
    }
    my @names = sort keys %is_listening;
    return @names;
}

sub openmetrics {
    my ($self, @topics) = @_;
    require EventSource::XS::Hub::Metrics;
    my ($text) = $self->_ask('metrics', EventSource::XS::Hub::Metrics->topics(\@topics));
    return $text;
}

sub pid { return $_[0]{pid} + 0 }

sub position_event { return $_[0]{position_event} }

sub program {
    for my $library (grep { m{/EventSource/XS/XS[.]} } map { defined ? $_ : () } @DynaLoader::dl_shared_objects) {
        my $program = $library =~ s{[^/]+\z}{$PROGRAM}r;

        # As perl does with a path. rel2abs adds bytes to it.
        utf8::encode($program)               if utf8::is_utf8($program);
        return File::Spec->rel2abs($program) if -x $program;
    }
    return EventSource::Error->throw(
        code    => 'unsupported',
        field   => 'name',
        message =>
            "EventSource::Hub: the program $PROGRAM is not installed: install the package of that name, or, if this distribution"
            . ' was built without cargo 1.85 or newer, build it again with one, or start the program otherwise and set spawn => 0'
    );
}

sub publish {
    my ($self, $channel, $event) = @_;
    $self->begin_publish($channel, $event);
    my ($answer) = reverse $self->answers;
    EventSource::Error->throw(code => $answer->{code}, message => __PACKAGE__ . ": $answer->{error}")
        if !defined $answer->{id};
    return $answer->{id};
}

sub stats {
    my ($self, $channel)          = @_;
    my ($subscribers, @texts)     = $self->_ask('count', defined $channel ? _name($channel) : '');
    my ($version, $age, @workers) = $self->_ask('describe');
    my %counts = %{_counts_of([map { _characters($_) } @texts])};
    my %stats  = (%counts, %{$counts{process}});
    delete $stats{process};
    $stats{subscribers} = $subscribers + 0 if defined $channel;
    $stats{workers}     = [map { $_ + 0 } grep { $_ != $$ } @workers];
    $stats{log}         = _last_of($self);
    return {%stats, age => $age + 0, epoch => $self->epoch, pid => $self->pid, version => $version};
}

sub stop {
    my ($class, @given) = @_;
    ($class, @given) = (ref $class, %{$class->{place}}) if ref $class;
    $class->_replace({$class->_checked('stop', \@given, qw(name socket timeout)), program => ''});
    return;
}

sub upgrade {
    my ($class, @given) = @_;
    my %native = $class->_checked('upgrade', \@given, qw(name socket timeout));
    $class->_replace({%native, program => $class->program});
    return;
}

# Private methods and functions

sub _ask {
    my ($self, @call) = @_;
    EventSource::Error->throw(
        code    => 'state',
        message => __PACKAGE__ . ': this connection belongs to another process; connect in the forked child'
    ) if $self->{process} != $$;
    return @{$self->_call(@call)};
}

sub _characters {
    my $text = shift;
    utf8::decode($text);
    return $text;
}

sub _check_system {
    my $class = shift;
    EventSource::Error->throw(
        code    => 'unsupported',
        message => 'EventSource::Hub: there are no hubs on this system: they need Linux'
    ) if !$class->can('_connect');
    return;
}

# The settings of a method that connects, checked.
sub _checked {
    my ($class, $method, $given, @known) = @_;
    my %given = $SETTINGS->parse("$method takes settings", @$given);
    $class->_check_system;
    $SETTINGS->known(\%given, \@known);
    $SETTINGS->refuse(name => 'name must be given: that of the hub') if !defined $given{name};
    $SETTINGS->seconds(timeout => $given{timeout}, is_above_zero => 1);
    my $socket = $SETTINGS->string(socket => $given{socket});
    $SETTINGS->refuse(socket => 'socket must be an absolute path without a NUL, such as /run/shop/hub.sock')
        if defined $socket && $socket !~ m{\A/[^\0]+\z};
    return (
        name => $SETTINGS->string(name => $given{name}),
        exists $given{show_channel} ? (show_channel => $given{show_channel}) : (),
        socket  => defined $socket ? $socket : '',
        spawn   => $given{spawn},
        timeout => defined $given{timeout} ? $given{timeout} : 5,
    );
}

# A process that was killed has left its socket.
sub _is_listening {
    require IO::Socket::UNIX;
    return !!IO::Socket::UNIX->new(Peer => $_[0]);
}

# The last line of the log, for the counts.
sub _last_of {
    my $self = shift;
    local $SIG{__DIE__};
    my ($line) = reverse eval { $self->log } or return {last => undef, last_age => undef};
    my $age = Time::HiRes::time() - $line->{time};
    return {last => $line->{message}, last_age => $age > 0 ? $age : 0};
}

sub _name {
    return _short('channel', "a channel's name", @_);
}

# A string of at most so many bytes.
sub _short {
    my ($field, $what, $value) = @_;
    $SETTINGS->refuse($field, "$what must be a string that is not empty")
        if !defined $value || ref $value || !length $value;
    my $problem = EventSource::XS::Hub::Name->problem($value);
    $SETTINGS->refuse($field, "$what $problem") if defined $problem;
    return $value;
}

# Why the store may be what a call has waited for. This connection still waits for its answer, so another one asks.
sub _problem_of_store {
    my $self = shift;
    local $SIG{__DIE__};
    my $store = eval { (ref $self)->connect(%{$self->{place}}, spawn => 0)->stats->{store} };
    return undef if !$store || $store->{up};
    return 'the store is down' . (defined $store->{last_error} ? ": $store->{last_error}" : '');
}

# Called by src/xs, too: makes hashes of the names and values of a hub's counts. Without an error of the store, its text and its
# age are undefined.
sub _counts_of {
    my @texts = @{$_[0]};
    my %counts;
    while (my ($path, $text) = splice @texts, 0, 2) {
        my ($group, $name) = $path =~ /\A(?:(\w+)[.])?(\w+)\z/;
        my $hash = $group ? $counts{$group} ||= {} : \%counts;
        $hash->{$name} = $IS_TEXT{$name} ? $text : $text + 0;
    }
    my $store = $counts{store};
    @$store{qw(last_error last_error_age)} = () if $store && !length $store->{last_error};
    return \%counts;
}

# The number of an open stream socket. A closed handle has none, and the hub must not be given another file for it.
sub _number_of {
    my $socket = shift;
    my $number = do {
        local $SIG{__DIE__};
        eval { fileno $socket }
    };
    my $type = defined $number && $number >= 0 ? getsockopt $socket, SOL_SOCKET, SO_TYPE : undef;
    $SETTINGS->refuse(socket => 'follow takes one end of a pair of stream sockets, and it must be open')
        if !defined $type || unpack('i', $type) != SOCK_STREAM;
    return $number;
}

# The arguments of the native call.
sub _publication {
    my ($self, $channel, $event) = @_;
    my %event = ref $event eq 'HASH' ? %$event : (data => $event);
    $SETTINGS->known(\%event, \@FIELDS, 'field %s');
    my $name = _name($channel);
    %event = %{EventSource::XS::Hub::ChannelNames->show($self->{show_channel}, $name, \%event)}
        if defined $self->{show_channel};
    my ($key, $once) = map { defined $event{$_} ? _short($_, $_, $event{$_}) : '' } qw(key once);
    my $retain = !$event{retain} ? '' : $event{retain} eq 'forget' ? 'forget' : 1;
    my $data   = $event{data};

    if (exists $event{json}) {
        $SETTINGS->refuse(json => 'an event has data or json, not both') if defined $data;
        $data = $JSON->encode($event{json});
    }
    for my $field (grep { ref $event{$_} } qw(data event id retry)) {
        $SETTINGS->refuse($field, "$field must be a string, not a reference");
    }
    $SETTINGS->refuse(data => 'an event needs one of event, id, retry, data, json')
        if !grep { defined } $data, @event{qw(event id retry)};
    return ($name, $key, $once, $retain, @event{qw(event id retry)}, $data);
}

# A topic as the native call takes it: its kind, and the pattern or the name.
sub _topic {
    my $topic = shift;
    return blessed $topic
        && $topic->isa('EventSource::XS::Hub::Pattern') ? (pattern => $$topic) : (channel => _name($topic));
}

1;
__END__

=encoding utf8

=head1 NAME

EventSource::Hub::Process - Publish to a hub process, follow its channels and look at it, from a command or a job

=head1 SYNOPSIS

    use EventSource::Hub::Process;

    my $hub = EventSource::Hub::Process->connect(name => 'shop');
    my $id  = $hub->publish(news => {event => 'greeting', data => 'hello'});
    print "published as $id to the process ", $hub->pid, "\n";

=head1 DESCRIPTION

A hub with a L<name|EventSource::Hub/name> lives in a hub process. L<EventSource::Hub> is for the workers of an
application: it gives the hub its settings and hands streams over. This class is for everything else: it takes the hub as
it is, waits for each answer, and starts no thread. The command L<eventsource> is made of it.

A connection belongs to the process and the thread that has made it. A forked child connects anew.

=head1 METHODS

All strings are characters. Wrong arguments throw an L<EventSource::Error> with the code C<invalid>. All methods of an
object throw C<unavailable> if the connection had broken before the call, and nothing was done; C<unknown> if it broke
before the answer, or no answer came in time; and C<state> in a forked child or another thread.

=head2 connect

    my $hub = EventSource::Hub::Process->connect(name => 'shop', timeout => 5, socket => '/run/shop/hub.sock');
    my $hub = EventSource::Hub::Process->connect(name => 'shop', show_channel => 'data');

Connect to the hub process. C<name> is the hub's name; C<socket> its socket, an absolute path of at most 107 bytes,
if it is in another place than the folder of this user. C<spawn> says whether the process is started if none runs. By default
it is started with the settings that objects of this user have named before (L<EventSource::Hub/name>), and not at all if
none has used the hub; with a true value also then, with the defaults; with a false one never. C<timeout> is the number of
seconds (above 0, fractions allowed, 5 by default) that the connection and each answer may take. C<show_channel> is the form of
the events that this connection publishes (L<EventSource::Hub/show_channel>), none by default: give it the value that the hub
has in the workers, because the hub process does not know it.

Throws C<unavailable> if no process serves the hub within that time; the message says what to do, and names other users that
have a hub process with that name, if this user may see them, as root may. Throws C<unsupported> if the system is not
Linux or the program is not installed, C<refused> if the process has another version of the protocol
(L<EventSource::Deployment/VERSIONS>), and C<invalid> if it is that of another hub.

=head2 answers

    my @answers = $hub->answers;

Send the events that were begun (L</begin_publish>), wait for their answers, and return these in the order of the events.
Each is a reference to a hash: of C<id>, the event's id in the order of the hub, or of C<error>, why the event has none, and
C<code>, as L</publish> throws it. If the connection breaks, the call returns the answers that have come; the next one throws
C<unknown>, because the other events were perhaps published.

=head2 begin_publish

    $hub->begin_publish($channel, $event);

Begin to publish an event, as L</publish> does, without waiting. Several events are sent at once, which makes publishing
many of them several times faster. At most 256 are sent before their answers have come. Call L</answers> at the end.

=head2 channels

    $hub->channels('news/*', sub { my $channel = shift; print "$channel->{name}\n" });

Call a function with each channel whose name matches a pattern (L<EventSource::Hub/pattern>), or with all if the pattern is
C<undef>, in no order: a reference to a hash of C<name>, C<subscribers> (the subscriptions to it, by its name or by patterns),
C<events> and C<bytes> of its history, C<keys> of its state, and C<last_id>, the id of the last event in the order of the hub,
empty if there is none. The list is asked for in parts, so it holds nobody up; a channel that appears or disappears meanwhile
may be missing or be there twice.

=head2 drain

    $hub->drain(30);

End the streams of the hub one after the other within a number of seconds, as L<EventSource::Hub/drain> does, and
streams that come later at once, until the last worker has gone. Returns when that has begun.

=head2 end

    my $count = $hub->end(label => 'user/7', finish => 1);

End streams by their labels or topics, as L<EventSource::Hub/end> does, and return how many were ended on this machine. Throws
C<unknown> if the hub's store does not take the request in time; the streams of this machine have ended all the same.

=head2 epoch, gap_event, pid, position_event

    my $epoch = $hub->epoch;

Return the epoch, with which the hub's ids begin, the types of the hub's own events, and the number of its process.

=head2 follow

    $hub->follow($socket, 'news', EventSource::Hub->pattern('orders/*'), {after => $id, start => 'latest'});

Hand one end of a pair of stream sockets to the process, which writes the events of channels and patterns to it; then close
it here. The other end reads an event stream (L<EventSource::Parser>). Each event comes after a comment with its
channel, C<:channel NAME>, in which each control character and C<%> is a C<%> and two hexadecimal digits. A position is a
block with an id and without data. C<after> is the id after which the stream resumes; without it C<start> says where it
begins: C<latest> (by default), C<oldest>, C<state>, or a number of events, such as -10.

The stream ends with the process, or when its reader is too slow (L<EventSource::Hub/on_slow>).

Throws C<invalid> with the field C<socket> if that is not an open stream socket.

=head2 forget

    my $id = $hub->forget($channel, $key);
    my $id = $hub->forget($channel, $key, {event => $type, data => $data});

Forget a key of the state, and publish an event that says so, as L<EventSource::Hub/forget> does; return the id of that event.
Throws what L</publish> throws.

=head2 log

    my @lines = EventSource::Hub::Process->log(name => 'shop', socket => '/run/shop/hub.sock');
    my @lines = $hub->log;
    print "$_->{time} $_->{message}\n" for @lines;

Return the last lines of the hub's log (L<EventSource::Deployment/The log of a hub process>), at most 200, the oldest first:
each a reference to a hash with C<time>, in seconds since 1970, and C<message>. They are in a file beside the socket, and stay
when the process has ended. The settings are those of L</connect>; an object has them from there. Connects to nothing.

Throws C<unavailable> if there is no such file: no process of this user has served the hub.

=head2 members

    my @members = $hub->members('room/7/people');

Return the members of a channel, as L<EventSource::Hub/members> does.

=head2 names

    my @names = EventSource::Hub::Process->names;

Return the names of the hubs of this user that have a process, sorted: those whose sockets are in a folder of this user
(L<EventSource::Hub/socket>).

=head2 openmetrics

    my $bytes = $hub->openmetrics;
    my $bytes = $hub->openmetrics('orders', EventSource::Hub->pattern('user/*'));

Return the metrics of L<EventSource::Deployment/METRICS> as text of OpenMetrics 1.0, bytes of UTF-8. The channels and patterns
that are given, at most 100, are told apart by a label.

=head2 program

    my $path = EventSource::Hub::Process->program;

Return the path of eventsource-hub. Throws C<unsupported> if it is not installed.

=head2 publish

    my $id = $hub->publish($channel, $data);
    my $id = $hub->publish($channel, {event => $type, data => $data, key => $key, once => $once});
    my $id = $hub->publish($channel, {key => $key, json => $structure, retain => 1});

Publish an event, and return its id in the order of the hub, even if it has one of the application. The event is its data, a
string, or a reference to a hash of C<event>, C<id>, C<retry> (milliseconds), C<data> or C<json> (any structure), C<key>
(L<EventSource::Hub/publish>), C<retain> (L<EventSource::Hub/State>) and C<once>, a key of at most 256 bytes that makes a
repeated publish return the first one's id, remembered for as long as the history. Throws C<invalid> if the hub refuses the
event, C<full> if it would retain too much, C<unavailable> if its store does not take it, and C<unknown> if the store has
perhaps taken it.

=head2 stats

    my $stats = $hub->stats;
    my $stats = $hub->stats($channel);

Return the counts of L<EventSource::Hub/stats> as a reference to a hash, and besides: C<pid>, C<version> and C<age> (seconds)
of the process, C<epoch>, C<workers>, a reference to an array of the numbers of the connected processes without this one,
sorted, C<open>, the open streams, C<refused>, those that were refused (L<EventSource::Hub/max_streams>), C<buffered>, the
bytes that are buffered for them, C<cut_off>, how many workers were cut off because they broke the rules of the protocol,
and, with a channel, C<subscribers>. C<store> is there for every hub. C<log> has C<last>, the last line of its L</log>, and
C<last_age>, how many seconds ago that was; both are undefined without one.

=head2 stop

    EventSource::Hub::Process->stop(name => 'shop', timeout => 5, socket => '/run/shop/hub.sock');
    $hub->stop;

End the hub process, whichever version it has. Its streams end, and each client is sent a reconnection time. Returns when it has
ended its connections, at the latest 9 seconds after C<timeout>. The settings are those of L</connect>; an object has them from
there, and connects anew. Never starts a process.

Throws C<unavailable> if no process serves the hub, C<invalid> if the process is that of another hub, C<refused> if it does not
end for another reason, and C<unknown> if it has not ended in time.

=head2 upgrade

    EventSource::Hub::Process->upgrade(name => 'shop', timeout => 5, socket => '/run/shop/hub.sock');

Have the hub process continue as the program that is installed now, whichever version it has. No stream ends, and no event
is lost. Returns when the new program has taken over, at the latest 45 seconds after C<timeout>. The settings are those of
L</connect>. Never starts a process.

Throws C<unavailable> if no process serves the hub, C<refused> if the process keeps its program (the message says why),
C<unknown> if that is not known, and C<unsupported> as L</connect> does.

=head1 SEE ALSO

L<eventsource>, L<EventSource::Hub>, L<EventSource::Error>

=cut
