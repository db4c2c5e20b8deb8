package EventSource::Hub::Process;
use strict;
use warnings;

# A connection to a hub process that takes the hub as it is: for commands and jobs, which have no settings for it and
# no streams of clients. It waits for each answer and has no thread. The connection is native: _connect and _call are in
# src/xs.

our $VERSION = '0.100';

use parent 'EventSource::XS::Hub::Calls';
use EventSource::Error;
use EventSource::XS ();
use EventSource::XS::Hub::FollowedStream;
use EventSource::XS::Hub::Name;
use EventSource::XS::Hub::Subscription;
use EventSource::XS::Settings;
use EventSource::XS::SocketPair;
use File::Spec  ();
use Time::HiRes ();

my $SETTINGS     = EventSource::XS::Settings->new(__PACKAGE__);
my $OF_HUB       = EventSource::XS::Settings->new('EventSource::Hub');
my $SUBSCRIPTION = 'EventSource::XS::Hub::Subscription';

# eventsource-hub, beside the native library.
my $PROGRAM = 'eventsource-hub';

# The seconds that a call may take by default, if not 5.
my %WITHIN = (stop => 10, upgrade => 50);

# Of a log, as eventsource-hub keeps them; the file may have more.
my $MOST_LINES = 200;

my @FIELDS = qw(comment data event id json key once retain retry);

# Public methods

sub answers {
    my $self    = shift;
    my @answers = $self->_call('answers');
    my @results;
    while (my ($id, $error, $code, $field) = splice @answers, 0, 4) {
        push @results, length $id
            ? {id    => $id}
            : {error => $error, code => $code, field => length $field ? $field : undef};
    }
    return @results;
}

sub backup {
    my ($self, $file) = @_;
    my $path = _bytes(defined $file && !ref $file ? "$file" : '');
    $SETTINGS->refuse(file => 'backup takes the absolute path of a new file, in UTF-8')
        if $path !~ m{\A/[^\0]+\z} || !utf8::decode($path);
    $self->_call('backup', $path);
    return;
}

sub begin_publish {
    my ($self, @given) = @_;
    $self->_call('begin_publish', $self->_publication(@given));
    return;
}

sub connect {
    my ($class, @given) = @_;
    my %native    = $class->_checked('connect', \@given, qw(autostart name show_channel socket timeout));
    my $autostart = delete $native{autostart};
    my $program   = !defined $autostart || $autostart ? $class->program : '';
    my %place     = map { length $native{$_} ? ($_ => $native{$_}) : () } qw(name socket timeout);
    my $self      = bless {name => $native{name}, place => \%place}, $class;
    $self->_connect(@native{qw(name socket)}, $program, $native{timeout}, !defined $autostart, $native{show_channel});
    @$self{qw(pid gap_event position_event show_channel)} = $self->_call('welcome');
    return $self;
}

sub end {
    my ($self, @given) = @_;
    my $count = do {
        local $SIG{__DIE__};
        eval { $self->SUPER::end(@given) };
    };
    return $count if defined $count;
    my $error = EventSource::Error->own($@);
    die $error if $error->code ne 'unknown';
    my $problem = $self->_problem_of_store or die $error;
    return $SETTINGS->throw(
        unknown => "the streams of this machine have ended, those of others when their hubs know: $problem");
}

sub follow {
    my ($self, @topics) = @_;
    my %option = ref $topics[-1] eq 'HASH' ? %{pop @topics} : ();
    $SETTINGS->known(\%option, [qw(after on_bytes start)], 'option %s');
    $SETTINGS->code(on_bytes => $option{on_bytes});
    $SETTINGS->refuse(channels => 'there is no channel to follow') if !@topics;
    $SUBSCRIPTION->check_number($SUBSCRIPTION->bound_of_topics, @topics);
    my $after = defined $option{after} && length $option{after} ? $option{after} : undef;
    my @native =
        (after => $after, start => $SUBSCRIPTION->start($option{start}), $SUBSCRIPTION->native_topics(@topics));
    my ($socket, $handed) = EventSource::XS::SocketPair->open
        or $SETTINGS->throw(unavailable => "no pair of sockets: $!");
    $self->_call('follow', fileno $handed, @native);
    return EventSource::XS::Hub::FollowedStream->new(
        gap_event => $self->{gap_event},
        socket    => $socket,
        topics    => \@topics,
        option    => \%option
    );
}

sub log {
    my ($class, @given) = @_;
    ($class, @given) = (ref $class, %{$class->{place}}) if ref $class;
    my %place = $class->_checked('log', \@given, qw(name socket timeout));
    my $name  = $place{name};
    my $wrong = EventSource::XS::Hub::Name->problem_of_hub($name);
    $SETTINGS->refuse(name => "name $wrong") if defined $wrong;
    my @sockets = length $place{socket} ? $place{socket} : map { "$_/$name.sock" } $class->_call('folders');
    my $lines   = _lines_of(map { "$_.log" } @sockets);
    return @$lines if $lines;
    return $SETTINGS->throw(unavailable => "there is no log of the hub $name: no process of this user has served it"
            . " ($sockets[0].log)");
}

sub names {
    my $class = shift;
    $class->_check_system;
    my %is_listening;
    for my $folder ($class->_call('folders')) {
        opendir my $entries, $folder or next;
        my @names = map { /\A(.+)[.]sock\z/ ? $1 : () } readdir $entries;
        $is_listening{$_} = 1 for grep { _is_listening("$folder/$_.sock") } @names;
    }
    my @names = sort keys %is_listening;
    return @names;
}

sub pid { return $_[0]{pid} + 0 }

sub program {
    for my $library (grep { m{/EventSource/XS/XS[.]} } map { defined ? $_ : () } @DynaLoader::dl_shared_objects) {
        my $program = $library =~ s{[^/]+\z}{$PROGRAM}r;
        return File::Spec->rel2abs(_bytes($program)) if -x $program;
    }
    my $text =
          "the program $PROGRAM is not installed: install the package of that name, or, if this distribution was built"
        . ' without cargo 1.85 or newer, build it again with one, or start the program otherwise and set autostart => 0';
    return $OF_HUB->throw(unsupported => $text, 'name');
}

sub publish {
    my ($self, @given) = @_;
    $self->begin_publish(@given);
    my ($answer) = reverse $self->answers;
    $SETTINGS->throw($answer->{code}, $answer->{error}, $answer->{field}) if !defined $answer->{id};
    return $answer->{id};
}

sub show_channel { return $_[0]{show_channel} || undef }

sub stats {
    my ($self, $channel) = @_;
    my %stats = %{$self->SUPER::stats};
    my ($version, $age, @workers) = $self->_call('describe');
    %stats              = (%stats, %{delete $stats{process}});
    $stats{subscribers} = $self->subscribers($channel) if defined $channel;
    $stats{workers}     = [map { $_ + 0 } grep { $_ != $$ } @workers];
    $stats{log}         = _last_of($self);
    return {%stats, age => $age + 0, epoch => $self->epoch, version => $version};
}

sub stop {
    my ($class, @given) = @_;
    ($class, @given) = (ref $class, %{$class->{place}}, timeout => undef) if ref $class;
    my %native = $class->_checked('stop', \@given, qw(name socket timeout));
    $class->_call('replace', @native{qw(name socket)}, '', $native{timeout});
    return;
}

sub upgrade {
    my ($class, @given) = @_;
    my %native = $class->_checked('upgrade', \@given, qw(name socket timeout));
    my ($report) = $class->_call('replace', @native{qw(name socket)}, $class->program, $native{timeout});
    utf8::decode($report);
    return $report;
}

# Private methods and functions

# A path as perl gives it to the system.
sub _bytes {
    my $path = shift;
    utf8::encode($path) if utf8::is_utf8($path);
    return $path;
}

sub _check_system {
    my $class = shift;
    $OF_HUB->throw(unsupported => 'there are no hubs on this system: they need Linux') if !$class->can('_connect');
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
    return (
        autostart    => $given{autostart},
        name         => $SETTINGS->string(name => $given{name}),
        show_channel => $SETTINGS->one_of(show_channel => $given{show_channel}, 'event', 'data'),
        socket       => EventSource::XS::Hub::Name->socket($SETTINGS, $given{socket}) // '',
        timeout      => $given{timeout} // $WITHIN{$method} // 5,
    );
}

# A process that was killed has left its socket.
sub _is_listening {
    require IO::Socket::UNIX;
    return !!IO::Socket::UNIX->new(Peer => $_[0]);
}

# The last lines of the newest of some logs, as hashes with time and message; undef if there is no log. A hub process keeps
# them in a file beside its socket: they are there without the process, too. Each line is the time in seconds since 1970, a
# tab, and the message in UTF-8. One that is cut, because the disk was full, is none.
sub _lines_of {
    my %changed = map { my @found = stat; @found ? ($_ => $found[9]) : () } @_;
    my ($newest) = sort { $changed{$b} <=> $changed{$a} } keys %changed;
    return undef if !defined $newest;
    open my $from, '<:raw', $newest or return undef;
    my @lines;
    while (my $line = readline $from) {
        my ($time, $message) = $line =~ /\A([0-9]+[.][0-9]+)\t(.*)\n\z/ or next;
        utf8::decode($message);
        push @lines, {time => $time + 0, message => $message};
    }
    splice @lines, 0, -$MOST_LINES if @lines > $MOST_LINES;
    return \@lines;
}

# The last line of the log, for the counts.
sub _last_of {
    my $self  = shift;
    my $lines = EventSource::Error->attempt(sub { [$self->log] });
    return {last => undef, last_age => undef} if !$lines || !@$lines;
    my $line = $lines->[-1];
    my $age  = Time::HiRes::time() - $line->{time};
    return {last => $line->{message}, last_age => $age > 0 ? $age : 0};
}

# Why the store may be what a call has waited for. This connection still waits for its answer, so another one asks.
sub _problem_of_store {
    my $self = shift;
    my $store =
        EventSource::Error->attempt(sub { (ref $self)->connect(%{$self->{place}}, autostart => 0)->stats->{store} });
    return undef if !$store || $store->{up};
    return 'the store is down' . (defined $store->{last_error} ? ": $store->{last_error}" : '');
}

# The arguments of the native call.
sub _publication {
    my ($self, $channel, $event, @options) = @_;
    $SETTINGS->refuse(options => 'there are no options: once is a field of the event') if @options;
    my %event = ref $event eq 'HASH' ? %$event : (data => $event);
    $SETTINGS->known(\%event, \@FIELDS, 'field %s');
    my $name   = $SETTINGS->name("a channel's name", $channel, field => 'channel');
    my $retain = !$event{retain} ? '' : $event{retain} eq 'forget' ? 'forget' : 1;
    my ($key, $once)     = map { $SETTINGS->name($_ => $event{$_}) } qw(key once);
    my ($data, $is_json) = ($event{data}, exists $event{json} ? 1 : 0);

    if ($is_json) {
        $SETTINGS->refuse(json => 'an event has data or json, not both') if defined $data;
        $data = $SETTINGS->json($event{json});
    }
    $SETTINGS->refuse($_, "$_ must be a string, not a reference")
        for grep { ref $event{$_} } qw(comment data event id retry);
    $SETTINGS->refuse(data => 'an event needs one of event, id, retry, data, json, comment; undef leaves one out')
        if $retain ne 'forget' && !grep { defined } $data, @event{qw(comment event id retry)};
    return ($name, $key, $once, $retain, $is_json, @event{qw(comment event id retry)}, $data);
}

EventSource::XS->keep_errors(
    qw(answers backup begin_publish connect end follow log names program publish stats stop upgrade));

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

Commands (L<eventsource>) and jobs use this class. An object takes a L<named|EventSource::Hub/name> hub as it is, waits for
each answer, and starts no thread.

=head1 METHODS

Strings are characters (L<EventSource::Hub/Names>). Wrong arguments throw an L<EventSource::Error> with the code C<invalid>. All
methods of an object throw

    unavailable    the connection had broken before the call: nothing was done
    unknown        it broke before the answer, or no answer came in time
    state          in a forked child or another thread

=head2 connect

    my $hub = EventSource::Hub::Process->connect(name => 'shop', timeout => 5, socket => '/run/shop/hub.sock');

Connect to the hub process.

=over

=item socket

The hub's L<socket|EventSource::Hub/socket>, if that is not the default.

=item autostart

Whether the process is started if none runs: by default if settings were named for the hub
(L<EventSource::NamedHub/SETTINGS>).

=item timeout

How many seconds (above 0, fractions allowed) the connection and each answer may take, 5 by default.

=item show_channel

That of the workers (L<EventSource::Hub/show_channel>), if none has named it yet. Another one throws C<refused>.

=back

Throws C<unavailable> if no process serves the hub within that time, C<invalid> if it is that of another hub, C<refused> if it
has another version of the protocol (L<EventSource::Deployment/VERSIONS>), and C<unsupported> without Linux or the program.

=head2 answers

    my @answers = $hub->answers;

Send the events of L</begin_publish>, and return their answers in the same order: hashes with the C<id> of the event in the
order of the hub, or with C<error>, C<code> and C<field>, as L</publish> throws them. If the connection breaks, the answers
that have come are returned; the next call throws C<unknown>.

=head2 backup

    $hub->backup('/var/backups/shop.db');

Have the process copy the file of its store into a new one (L<EventSource::Stores/Backups>), and wait for that as long as it
answers. Throws C<refused> if the file exists or the store is not a file, C<unavailable> if it cannot be written.

=head2 begin_publish

    $hub->begin_publish($channel, $event);

Begin to L</publish> an event: several times faster. At most 256 are sent before their L</answers> have come.

=head2 channels

    $hub->channels('news/*', sub { my $channel = shift; print "$channel->{name}\n" });

Call a function with each channel that matches a L<pattern|EventSource::Hub/pattern> (C<undef> for all), in no order. One that
appears or disappears meanwhile may be missing or come twice. The argument is a hash of C<name>, C<subscribers> (by its name
or by patterns), C<events> and C<bytes> of its history, C<keys> of its state, C<rate>, the events a second over the last ten
seconds, and C<last_id>, empty if there is no event.

=head2 drain, end, forget, history, last_id, members, members_count, oldest, state, subscribers, update_member

    $hub->drain(30);
    my $count   = $hub->end(label => 'user/7', finish => 1);
    my $id      = $hub->forget($channel, $key, {event => $type, data => $data});
    my @members = $hub->members('room/7/people');

Do what these methods of L<EventSource::Hub> do. C<forget> has no options (C<once> is a field), and throws as L</publish> does.
C<end> throws C<unknown> if the hub's store does not take the request in time; the streams of this machine have ended all the
same.

=head2 epoch, gap_event, pid, position_event, show_channel

    my $epoch = $hub->epoch;

Return the epoch, the types of the hub's own events, its process id, and L<show_channel|EventSource::Hub/show_channel>,
C<undef> if it has none.

=head2 follow

    my $stream = $hub->follow('news', EventSource::Hub->pattern('orders/*'), {after => $id, start => 'latest'});
    while (my $events = $stream->read) {
        print "$_->{channel}: $_->{data}\n" for grep { !$_->{is_gap} } @$events;
    }

Follow channels and patterns. The stream resumes after the id C<after>, or begins at L<start|EventSource::Hub/start>. It ends
with the process, with the object, and when its reader is too slow. Its methods are

=over

=item read

Wait for events and return a reference to them: hashes of C<channel>, C<event>, C<id> and C<data>. A gap has C<is_gap> and no
channel. There may be none yet. Returns C<undef> at the end.

=item socket

Return the handle that C<read> reads, for an event loop; C<undef> after the end. If it does not block, C<read> does not wait.
From it comes an event stream (L<EventSource::Parser>). Before each event there is a comment, C<:channel NAME>, with control
characters and C<%> as C<%> and two hexadecimal digits.

=item resume

    $stream = $stream->resume(EventSource::Hub::Process->connect(name => 'shop'));

Follow the same channels over another connection, after the last id. Return that stream.

=item last_event_id

Return the last id that was read.

=back

C<on_bytes> is called with the stream and the bytes that are read.

=head2 log

    my @lines = EventSource::Hub::Process->log(name => 'shop', socket => '/run/shop/hub.sock');
    my @lines = $hub->log;
    print "$_->{time} $_->{message}\n" for @lines;

Return the last lines of the L<hub's log|EventSource::Monitoring/THE LOG>, the oldest first: hashes with C<time>, in seconds
since 1970, and C<message>. Throws C<unavailable> if no process of this user has served the hub.

=head2 names

    my @names = EventSource::Hub::Process->names;

Return the sorted names of this user's hubs with a process and a socket in a default folder.

=head2 openmetrics

    my $bytes = $hub->openmetrics('orders', EventSource::Hub->pattern('user/*'));

Return L<EventSource::Monitoring/METRICS> as bytes of UTF-8, with up to 100 channels and patterns.

=head2 program

    my $path = EventSource::Hub::Process->program;

Return the path of eventsource-hub, or throw C<unsupported>.

=head2 publish

    my $id = $hub->publish($channel, $data);
    my $id = $hub->publish($channel, {event => $type, data => $data, key => $key, once => $once});

Publish an event, and return its id in the order of the hub, even if it has one of the application. The event is its data, a
string, or a hash of C<event>, C<comment>, C<id>, C<retry>, C<data> or C<json>, C<key>, C<retain> and C<once>
(L<EventSource::Hub/publish>).

Throws C<invalid> if the hub refuses the event, C<full> if it would retain too much, and C<unavailable> or C<unknown> if its
store does not, or has perhaps taken it.

=head2 stats

    my $stats = $hub->stats($channel);

Return the counts of L<EventSource::Hub/stats>, with those of its C<process> in place of that. C<workers> are the sorted
process ids, without this one. Besides there are

    version, age    of the process; its age in seconds
    epoch           with which the hub's ids begin
    log             a hash: last, the last line of the log, and last_age, how many seconds ago; undefined without one
    subscribers     of a given channel

=head2 stop, upgrade

    $hub->stop;
    EventSource::Hub::Process->stop(name => 'shop', timeout => 5, socket => '/run/shop/hub.sock');
    print EventSource::Hub::Process->upgrade(name => 'shop', timeout => 5, socket => '/run/shop/hub.sock'), "\n";

C<stop> ends the hub process; its streams end with a C<retry>. C<upgrade> has it continue as the installed program; no
event is lost. It returns what the process logs: how many streams stay, and how many clients reconnect. Both take a process of
any version. C<stop> returns when the connections of the process have ended, at the latest after C<timeout> seconds, by default
10; C<upgrade> when the new program has taken over, by default after 50.

Both throw what L</connect> throws, C<refused> if the process does not end, or keeps its program, and C<unknown> if that is
not known in time: it may still happen.

=cut
