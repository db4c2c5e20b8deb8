package EventSource::XS::Command::Tail;
use strict;
use warnings;

# `eventsource tail`: prints events as they come, of a hub process or of a URL. Both ways a lost stream is resumed after its
# last id.

use EventSource::XS::Command;
use EventSource::XS::Command::Tail::Output;
use IO::Poll    qw(POLLERR POLLHUP POLLIN);
use List::Util  qw(min);
use Time::HiRes qw(time);

my $COMMAND = 'EventSource::XS::Command';

my @OPTIONS = qw(
    hub=s socket=s autostart! channel=s@ event=s@ match=s last=i from-start from-state after=s count=i timeout=f json raw data
);

# The longest event, in bytes: the longest message to a hub process.
my $MAX_EVENT = 16 << 20;

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
    my $after = defined $option->{after} ? $COMMAND->text('--after', $option->{after}) : undef;
    my $raw   = sub { $self->{output}->raw($_[1]) };
    $self->{begin} = {start => @given && $start{$given[0]} || 'latest', after => $after, on_bytes => $raw};
    my $pause = $FIRST_PAUSE;
    my $is_ok = eval { $self->_connect };
    die $@ if !$is_ok && !($self->{hub} && $COMMAND->exit_code($@) == 4);    # it has ended without an answer

    while (!$self->_is_over) {
        $pause = $is_ok && $self->_read_stream ? $FIRST_PAUSE : min($pause * 2, $LONGEST_PAUSE);
        my $again = sub { $self->_connect(autostart => 0, timeout => $LONGEST_PAUSE) };
        $is_ok = $COMMAND->connect_again('tail', $pause, $again, sub { $self->_is_over });
    }
    return;
}

# The channels and patterns to follow; all channels by default.
sub _topics {
    my ($self, @names) = @_;
    my @named = map { $COMMAND->text('a channel', $_) } @{$self->{option}{channel} || []};
    @names = '**' if !@named && !@names;
    return @named, map { $COMMAND->topic('a channel', $_) } @names;
}

# Follows the hub process, from where the stream before has ended.
sub _connect {
    my ($self, %instead) = @_;
    my ($hub, $before)   = ($COMMAND->connect({%{$self->{option}}, %instead}), $self->{stream});
    $self->{hub}    = $hub;
    $self->{stream} = $before ? $before->resume($hub) : $hub->follow(@{$self->{topics}}, $self->{begin});
    return 1;
}

sub _is_over {
    my $self = shift;
    return $self->{is_over} || $self->{output}->is_complete || defined $self->{until} && time >= $self->{until};
}

# Reads until the stream ends. Returns true if there was anything to read. The output is watched too: a reader such as head
# may have gone while no event comes.
sub _read_stream {
    my $self   = shift;
    my $socket = $self->{stream}->socket;
    my $poll   = IO::Poll->new;
    $poll->mask($socket     => POLLIN);
    $poll->mask(*STDOUT{IO} => POLLERR);
    my $has_read;
    while (!$self->_is_over) {
        my $wait = defined $self->{until} ? min($LONGEST_WAIT, $self->{until} - time) : $LONGEST_WAIT;
        $poll->poll($wait > 0 ? $wait : 0);
        die bless {}, 'EventSource::XS::Command::Closed' if $poll->events(*STDOUT{IO}) & POLLERR;
        next if !($poll->events($socket) & (POLLIN | POLLERR | POLLHUP));
        my $events = $self->{stream}->read or return $has_read;
        $has_read = 1;
        $self->_take(@$events);
    }
    return $has_read;
}

sub _take {
    my ($self, @events) = @_;
    for my $event (@events) {
        if ($event->{is_gap}) {
            my $where = $self->{option}{'from-state'} ? 'the state follows' : "events are missing before $event->{id}";
            $COMMAND->complain('tail', "gap: $where ($event->{data})");
        }
        else {
            $self->{output}->event($event);
        }
    }
    $self->{output}->flush;
    return;
}

1;
