package EventSource::XS::Command::Tail;
use strict;
use warnings;

# `eventsource tail`: prints events as they come. A hub process writes them to one end of a pair of sockets, which is
# handed to it as a stream; a URL is read over HTTP. Both ways a lost stream is resumed after its last id.

use EventSource::XS::Command;
use EventSource::XS::Command::Tail::Output;
use EventSource::XS::Hub::FollowedStream;
use EventSource::XS::Hub::Name;
use EventSource::XS::SocketPair;
use IO::Poll    qw(POLLERR POLLHUP POLLIN);
use List::Util  qw(min);
use Time::HiRes qw(sleep time);

my $COMMAND = 'EventSource::XS::Command';

my @OPTIONS = qw(
    hub=s socket=s autostart! channel=s@ event=s@ match=s last=i from-start from-state after=s count=i timeout=f json raw data
);

# The longest event, in bytes: the longest message to a hub process.
my $MAX_EVENT = 16 << 20;

my $READ_BYTES = 65_536;

# The pauses between two attempts to connect again, in seconds.
my ($FIRST_PAUSE, $LONGEST_PAUSE) = (0.05, 1);

# A signal may come just before poll() begins to wait, so it never waits for long.
my $LONGEST_WAIT = 1;

sub run {
    my ($class, @arguments) = @_;
    my $option = $COMMAND->options('tail', \@arguments, @OPTIONS) or return 0;
    my $output = EventSource::XS::Command::Tail::Output->new($option);
    my $self   = bless {
        option => $option,
        output => $output,
        reader => EventSource::XS::Hub::FollowedStream->new,
        until  => defined $option->{timeout} ? time + $option->{timeout} : undef,
    }, $class;
    local @SIG{qw(INT TERM)} = (sub { $self->{is_over} = 1 }) x 2;
    if (@arguments && $arguments[0] =~ m{\Ahttps?://}) {
        require EventSource::XS::Command::Tail::URL;
        EventSource::XS::Command::Tail::URL->new(%$self, is_over => sub { $self->_is_over }, max_event => $MAX_EVENT)
            ->follow(@arguments);
    }
    else {
        $self->_follow_hub(@arguments);
    }
    return $output->is_short ? 1 : 0;
}

sub _follow_hub {
    my ($self, @names) = @_;
    $self->{topics} = [$self->_topics(@names)];
    my $option = $self->{option};
    my @given  = grep { $option->{$_} } qw(last from-start from-state after);
    $COMMAND->usage('one of --last, --from-start, --from-state, --after') if @given > 1;
    my %start = (last => -($option->{last} || 0), 'from-start' => 'oldest', 'from-state' => 'state');
    my $after = defined $option->{after} ? $COMMAND->text('--after', $option->{after}) : '';
    $self->{begin} = [@given && $start{$given[0]} || 'latest', $after];
    my $pause  = $FIRST_PAUSE;
    my $stream = eval { $self->_connect(@{$self->{begin}}) };
    die $@ if !$stream && !($self->{hub} && $COMMAND->exit_code($@) == 4);    # it has ended without an answer

    while (!$self->_is_over) {
        if ($stream && $self->_read_stream($stream)) {
            $pause = $FIRST_PAUSE;
        }
        else {
            $pause = min($pause * 2, $LONGEST_PAUSE);
        }
        $stream = $self->_connect_again($pause) if !$self->_is_over;
    }
    return;
}

# The channels and patterns to follow; all channels by default.
sub _topics {
    my ($self, @names) = @_;
    my @named  = map { $COMMAND->text('a channel', $_) } @{$self->{option}{channel} || []};
    my @topics = map { $COMMAND->text('a channel', $_) } @names;
    @topics = '**' if !@named && !@topics;
    return @named, map { /[*]/ ? EventSource::XS::Hub::Name->pattern($_) : $_ } @topics;
}

# Hands the hub process a stream, and returns its other end.
sub _connect {
    my ($self, $start, $after, %how) = @_;
    my $hub = $COMMAND->connect($self->{option}, %how);
    my ($stream, $handed) = EventSource::XS::SocketPair->open or die "no pair of sockets: $!\n";
    $self->{hub} = $hub;    # the stream lives as long as this connection
    $hub->follow($handed, @{$self->{topics}}, {start => $start, after => $after});
    $self->{reader}->restart;
    return $stream;
}

# The next hub process has only events that were published after the last one was lost, and its state, if that is asked for. A
# stream without an id has not begun.
sub _connect_again {
    my ($self, $pause) = @_;
    my $has_said;
    while (!$self->_is_over) {
        sleep $pause;
        local $self->{option} = {%{$self->{option}}, autostart => 0, timeout => $LONGEST_PAUSE};
        my $id     = $self->{reader}->last_event_id;
        my @from   = length $id ? ($self->{option}{'from-state'} ? 'state' : 'oldest', $id) : @{$self->{begin}};
        my $stream = eval { $self->_connect(@from) };
        if ($stream) {
            $COMMAND->complain('tail', 'connected again') if $has_said;
            return $stream;
        }
        die $@ if $COMMAND->exit_code($@) != 3 && $COMMAND->exit_code($@) != 4;
        $COMMAND->complain('tail', 'the hub process has ended; waiting for the next one') if !$has_said++;
        $pause = min($pause * 2, $LONGEST_PAUSE);
    }
    return;
}

sub _is_over {
    my $self = shift;
    return $self->{is_over} || $self->{output}->is_complete || defined $self->{until} && time >= $self->{until};
}

# Reads until the stream ends. Returns true if there was anything to read. The output is watched too: a reader such as head
# may have gone while no event comes.
sub _read_stream {
    my ($self, $stream) = @_;
    my $poll = IO::Poll->new;
    $poll->mask($stream     => POLLIN);
    $poll->mask(*STDOUT{IO} => POLLERR);
    my $has_read;
    while (!$self->_is_over) {
        my $wait = defined $self->{until} ? min($LONGEST_WAIT, $self->{until} - time) : $LONGEST_WAIT;
        $poll->poll($wait > 0 ? $wait : 0);
        die bless {}, 'EventSource::XS::Command::Closed' if $poll->events(*STDOUT{IO}) & POLLERR;
        next if !($poll->events($stream) & (POLLIN | POLLERR | POLLHUP));
        my $count = sysread $stream, (my $bytes), $READ_BYTES;
        next             if !defined $count && $!{EINTR};
        return $has_read if !$count;
        $has_read = 1;
        $self->_feed($bytes);
    }
    return $has_read;
}

sub _feed {
    my ($self, $bytes) = @_;
    $self->{output}->raw($bytes);
    $self->_take($self->{reader}->feed($bytes));
    $self->{output}->flush;
    return;
}

sub _take {
    my ($self, @events) = @_;
    for my $event (@events) {
        if (defined $event->{channel}) {
            $self->{output}->event($event);
        }
        elsif ($event->{event} eq $self->{hub}->gap_event) {
            my $where = $self->{option}{'from-state'} ? 'the state follows' : "events are missing before $event->{id}";
            $COMMAND->complain('tail', "gap: $where ($event->{data})");
        }
    }
    return;
}

1;
