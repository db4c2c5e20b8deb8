package EventSource::XS::Command::Tail;
use strict;
use warnings;

# `eventsource tail`: prints events as they come, of a hub process or of a URL, which EventSource::Client reads. Both ways a
# lost stream is resumed after its last id.

use EventSource::XS::Command;
use EventSource::XS::Settings;
use IO::Poll    qw(POLLERR POLLHUP POLLIN);
use List::Util  qw(min);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime time);

my $COMMAND = 'EventSource::XS::Command';

my @OPTIONS = qw(
    hub=s socket=s autostart! channel=s@ event=s@ match=s last=i from-start from-state after=s count=i timeout=f json raw data
);

# The longest event, in bytes: the longest message to a hub process.
my $MAX_EVENT = 16 << 20;

# The pauses between two attempts to connect again, in seconds.
my ($FIRST_PAUSE, $LONGEST_PAUSE) = (0.05, 1);

# A signal may come just before poll() or the client begins to wait, so that is never for long, in seconds.
my $LONGEST_WAIT = 0.5;

# The seconds after which a channel without any event may be misspelt, and the channels of the hub that are shown then.
my ($HINT_AFTER, $MOST_SHOWN) = (3, 10);

# Events of a URL that are printed together if more are there already.
my $AT_ONCE = 100;

sub run {
    my ($class, @arguments) = @_;
    my $option = $COMMAND->options('tail', \@arguments, @OPTIONS);
    my $self   = bless {
        option => $option,
        lines  => '',
        until  => defined $option->{timeout} ? clock_gettime(CLOCK_MONOTONIC) + $option->{timeout} : undef,
        _checked($option),
    }, $class;
    local @SIG{qw(INT TERM)} = (sub { $self->{is_over} = 1 }) x 2;
    my $is_url = @arguments && $arguments[0] =~ m{\Ahttps?://};
    my $follow = $is_url ? '_follow_url' : '_follow_hub';
    $self->$follow(@arguments);
    return $self->{left} ? 1 : 0;
}

# The form and the filters of the output.
sub _checked {
    my $option  = shift;
    my @formats = grep { $option->{$_} } qw(json raw data);
    $COMMAND->usage('one of --json, --raw, --data') if @formats > 1;
    my ($filter) = grep { defined $option->{$_} } qw(event match count);
    $COMMAND->usage("--raw prints all bytes of the stream: without --$filter") if $option->{raw} && defined $filter;
    for my $name (grep { defined $option->{$_} } qw(count last)) {
        $COMMAND->usage("--$name takes a number from 1 on") if $option->{$name} < 1;
    }
    my $match = defined $option->{match} ? $COMMAND->text('--match', $option->{match}) : undef;
    my $regex = defined $match           ? eval { qr/$match/ }                         : undef;
    $COMMAND->usage('--match is not a regular expression: ' . $COMMAND->message_of($@)) if defined $match && !$regex;
    my @names = map { $COMMAND->text('--event', $_) } @{$option->{event} || []};
    return (
        format => $formats[0] // 'text',
        left   => $option->{count},
        names  => @names ? {map { $_ => 1 } @names} : undef,
        regex  => $regex,
    );
}

# Follows a URL. A server that has never sent a stream is not asked again: the URL may be wrong.
sub _follow_url {
    my ($self, $url, @others) = @_;
    my ($option, $has_opened) = ($self->{option});
    $COMMAND->usage("a URL is followed alone, without '$others[0]'") if @others;
    my ($of_hub) = grep { defined $option->{$_} } qw(hub socket autostart channel last from-start from-state);
    $COMMAND->usage("--$of_hub is for hubs, not for a URL") if defined $of_hub;
    my $on_error = sub {
        my ($client, $error) = @_;
        return     if $client->state eq 'closed';
        die $error if !$has_opened;
        $COMMAND->complain('tail', $COMMAND->message_of($error) . '; connecting again');
    };
    require EventSource::Client;
    my $client = EventSource::Client->new(
        url           => $url,
        headers       => ['User-Agent' => 'eventsource/' . $COMMAND->VERSION],
        last_event_id => $self->_after,
        max_event     => $MAX_EVENT,
        on_bytes      => sub { $self->_print_raw($_[1]) },
        on_error      => $on_error,
        on_open       => sub { $has_opened = 1 },
    );
    my $unprinted = 0;

    while (!$self->_is_over) {
        my $event = $client->next($unprinted ? 0 : $LONGEST_WAIT);
        last                     if !$event && $client->state eq 'closed';
        $self->_add_line($event) if $event;
        next                     if $event && ++$unprinted < $AT_ONCE;
        $self->_print_lines;
        $unprinted = 0;
    }
    return $self->_print_lines;
}

# The id to begin after.
sub _after {
    my $after = $_[0]{option}{after};
    return defined $after ? $COMMAND->text('--after', $after) : undef;
}

sub _follow_hub {
    my ($self, @names) = @_;
    $self->{topics} = [$self->_topics(@names)];
    my $option = $self->{option};
    my @given  = grep { $option->{$_} } qw(last from-start from-state after);
    $COMMAND->usage('one of --last, --from-start, --from-state, --after') if @given > 1;
    my %start = (last => -($option->{last} || 0), 'from-start' => 'oldest', 'from-state' => 'state');
    my $start = @given && $start{$given[0]} || 'latest';
    $self->{begin} = {start => $start, after => $self->_after, on_bytes => sub { $self->_print_raw($_[1]) }};
    my $pause = $FIRST_PAUSE;
    my $is_ok = eval { $self->_connect };
    die $@ if !$is_ok && !($self->{hub} && $COMMAND->exit_code($@) == 4);    # it has ended without an answer
    $self->{hints_at} = clock_gettime(CLOCK_MONOTONIC) + $HINT_AFTER
        if grep { (ref ? $$_ : $_) ne '**' } @{$self->{topics}};

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

# Names the channels and patterns to which nothing was published, once, and those of the hub.
sub _hint {
    my $self = shift;
    undef $self->{hints_at};
    my (@silent, @known);
    eval {
        my $hub = $COMMAND->connect({%{$self->{option}}, autostart => 0, timeout => $LONGEST_PAUSE});
        for my $topic (map { ref ? $$_ : $_ } @{$self->{topics}}) {
            my $has_event;
            $hub->channels($topic, sub { $has_event ||= length $_[0]{last_id} });
            push @silent, $topic if !$has_event;
        }
        $hub->channels('**', sub { push @known, $_[0]{name} if length $_[0]{last_id} }) if @silent;
    };
    return if !@silent;
    my $hint  = @silent == 1 ? EventSource::XS::Settings->hint($silent[0], \@known) : '';
    my @shown = sort @known;
    @shown = (@shown[0 .. $MOST_SHOWN - 1], '...') if @shown > $MOST_SHOWN;
    $COMMAND->complain('tail',
        "nothing was published to @silent so far$hint; the hub has " . (join(', ', @shown) || 'no channels'));
    return;
}

sub _is_over {
    my $self = shift;
    return
           $self->{is_over}
        || defined $self->{left}  && !$self->{left}
        || defined $self->{until} && clock_gettime(CLOCK_MONOTONIC) >= $self->{until};
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
        my $wait =
            defined $self->{until}
            ? min($LONGEST_WAIT, $self->{until} - clock_gettime(CLOCK_MONOTONIC))
            : $LONGEST_WAIT;
        $poll->poll($wait > 0 ? $wait : 0);
        $COMMAND->end if $poll->events(*STDOUT{IO}) & POLLERR;
        $self->_hint  if $self->{hints_at} && clock_gettime(CLOCK_MONOTONIC) >= $self->{hints_at};
        next          if !($poll->events($socket) & (POLLIN | POLLERR | POLLHUP));
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
            $self->_add_line($event);
        }
    }
    return $self->_print_lines;
}

# Adds the line of an event that the options select.
sub _add_line {
    my ($self, $event) = @_;
    return          if $self->{format} eq 'raw' || defined $self->{left} && !$self->{left};
    return          if $self->{names}                                    && !$self->{names}{$event->{event}};
    return          if $self->{regex}                                    && $event->{data} !~ $self->{regex};
    $self->{left}-- if defined $self->{left};
    my %event = (%$event, time => $COMMAND->utc(time));
    my $line =
          $self->{format} eq 'data' ? "$event->{data}\n"
        : $self->{format} eq 'json' ? $COMMAND->json(\%event) . "\n"
        : $COMMAND->line(map { defined ? $_ : '' } @event{qw(time channel event id data)});
    utf8::encode($line) if $self->{format} eq 'data';
    $self->{lines} .= $line;
    return;
}

sub _print_lines {
    my $self = shift;
    $COMMAND->print($self->{lines}) if length $self->{lines};
    $self->{lines} = '';
    return;
}

sub _print_raw {
    my ($self, $bytes) = @_;
    $COMMAND->print($bytes) if $self->{format} eq 'raw';
    return;
}

1;
