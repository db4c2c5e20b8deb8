package EventSource::XS::Doctor::Body;
use strict;
use warnings;

# The body of an event stream as it is written: its blocks with the time of their arrival, its comments, its line ends. A
# parser such as EventSource::Parser gives only what a browser would dispatch, and hides what is wrong.

use Encode ();
use EventSource::XS::Hub::Word;

my $MAX_BLOCKS = 10_000;     # blocks that are kept, the newest ones
my $MAX_LINES  = 100_000;    # lines that are read

my $TOGETHER = 0.05;         # seconds; what comes within them has arrived at once

my %IS_FIELD = map { ($_ => 1) } qw(data event id retry);

sub new {
    my $class = shift;
    my %facts = (line_ends => {}, comments => [], blocks => [], unknown => {});
    return bless {%facts, rest => '', block => undef, bytes => 0, lines => 0}, $class;
}

# Public methods

# The blocks that tell something. One with empty data is a position, and a hub says what its clients must know of it.
sub events {
    return grep { length($_->{data} // '') && !EventSource::XS::Hub::Word->is_word($_) } @{$_[0]{blocks}};
}

# Read the next bytes, which have arrived at that time. The last 10,000 blocks are kept.
sub feed {
    my ($self, $at, $bytes) = @_;
    return                                                if !length $bytes || $self->is_full;
    $self->{has_bom} = $bytes =~ /\A\xEF\xBB\xBF/ ? 1 : 0 if !$self->{bytes};
    $self->{bytes} += length $bytes;
    $self->{first_at} = $at if !defined $self->{first_at};
    my $has_end = $bytes =~ /[\r\n]/ || substr($self->{rest}, -1) eq "\r";
    $self->{rest} .= $bytes;
    $self->{rest} =~ s/\A\xEF\xBB\xBF// if $self->{bytes} == length $bytes;
    $self->_take_lines($at)             if $has_end;
    return;
}

# The ids of events and positions, in order, each once.
sub ids {
    my $self = shift;
    my %seen;
    return grep { !$seen{$_}++ } map { $_->{id} } grep { length($_->{id} // '') } @{$self->{blocks}};
}

# True if the stream has sent so many lines that no more are read.
sub is_full { return $_[0]{lines} >= $MAX_LINES }

# The signs of life, by time of arrival: comments, and blocks that dispatch nothing.
sub keepalives {
    my $self  = shift;
    my @times = (@{$self->{comments}}, map { $_->{at} } grep { !length($_->{data} // '') } @{$self->{blocks}});
    @times = sort { $a <=> $b } @times;
    return @times;
}

# The numbers of keepalives that have arrived at once, for each time that there were several. The first bytes of a stream may
# have a preamble and a position, so they count from three on.
sub bursts {
    my $self   = shift;
    my @times  = $self->keepalives or return;
    my @bursts = $self->sums_of_bursts(map { [$_, 1] } @times);
    shift @bursts if $bursts[0] < 3 && $times[0] - $self->{first_at} < $TOGETHER;
    return grep { $_ > 1 } @bursts;
}

# True if the stream has begun a block and not ended it. A retry counts as soon as its line ends (WHATWG HTML, section 9.2.6).
sub is_in_block {
    my $self  = shift;
    my $block = $self->{block};
    return !!(length $self->{rest} || $block && $block->{lines} > ($block->{retries} || 0));
}

# The sums of what has come at once: of pairs of a time and a number.
sub sums_of_bursts {
    my ($class,  @pieces) = @_;
    my ($before, @sums)   = (-$TOGETHER);
    for my $piece (@pieces) {
        my ($at, $number) = @$piece;
        push @sums, 0 if $at - $before >= $TOGETHER;
        $sums[-1] += $number;
        $before = $at;
    }
    return @sums;
}

# Private methods

# A comment of several lines is one; a server that repeats its comment has sent another.
sub _comment {
    my ($self, $at, $line) = @_;
    my $before = $self->{comment};
    push @{$self->{comments}}, $at if !$before || $before->{at} != $at || $before->{line} eq $line;
    $self->{comment} = {at => $at, line => $line};
    return;
}

# A hub says after how many seconds at most its stream sends something (promised), and clients ignore that field.
sub _field {
    my ($self, $block, $name, $value) = @_;
    if ($name eq 'keepalive' && $value =~ /\A[0-9]+(?:[.][0-9]+)?\z/) {
        $self->{promised} //= 0 + $value;
        return;
    }
    $block->{lines}++;
    if (!$IS_FIELD{$name}) {
        $self->{unknown}{$name}++ if keys %{$self->{unknown}} < 10;
        return;
    }
    if ($name eq 'data') {
        $block->{data} .= defined $block->{data} ? "\n$value" : $value;
        return;
    }
    $block->{retries}++           if $name eq 'retry';
    $self->{bad_retry} //= $value if $name eq 'retry' && $value !~ /\A[0-9]+\z/;
    $self->{has_nul_id} = 1      if $name eq 'id'    && $value =~ /\0/;
    $self->{retry}      = $value if $name eq 'retry' && $value =~ /\A[0-9]{1,15}\z/;
    $block->{$name}     = $value;
    return;
}

sub _line {
    my ($self, $at, $line) = @_;
    if (!length $line) {
        delete $self->{comment};
        my $block = delete $self->{block};
        return if !$block || !$block->{lines};
        $block->{at} = $at;
        push @{$self->{blocks}}, $block;
        shift @{$self->{blocks}} if @{$self->{blocks}} > $MAX_BLOCKS;
        $self->{nameless}++      if defined $block->{event} && !defined $block->{data};
        return;
    }
    $self->_examine_text($line);
    return $self->_comment($at, $line) if $line =~ /\A:/;
    delete $self->{comment};
    my ($name, $value) = split /:/, $line, 2;
    $value = '' if !defined $value;
    $value =~ s/\A //;
    $self->{block} ||= {lines => 0};
    return $self->_field($self->{block}, $name, $value);
}

# A CR at the end of what has arrived may be the half of a CRLF.
sub _take_lines {
    my ($self, $at) = @_;
    my @parts = split /(\r\n|\n|\r(?!\z))/, $self->{rest}, -1;
    $self->{rest} = pop @parts;
    while (@parts && !$self->is_full) {
        my ($line, $end) = splice @parts, 0, 2;
        $self->{lines}++;
        $self->{line_ends}{$end eq "\r\n" ? 'CRLF' : $end eq "\n" ? 'LF' : 'CR'}++;
        $self->_line($at, $line);
    }
    return;
}

# UTF-8 that was encoded once more: a lead byte as a character of Latin-1 (U+00C3), then one that follows it.
sub _examine_text {
    my ($self, $line) = @_;
    return if $line !~ /[\x80-\xFF]/;
    my $copy = $line;
    my $text = eval { Encode::decode('UTF-8', $copy, Encode::FB_CROAK()) };
    if (!defined $text) {
        $self->{invalid} = $line =~ /([^\x00-\x7F].{0,20})/s ? $1 : $line if !defined $self->{invalid};
        return;
    }
    $self->{doubled} = substr $text, $-[0] < 10 ? 0 : $-[0] - 10, 30
        if !defined $self->{doubled}
        && $text =~
        /[\x{C2}\x{C3}][\x{80}-\x{BF}]|\x{E2}(?:\x{20AC}|\x{80})[\x{80}-\x{BF}\x{2018}-\x{201E}\x{2122}\x{153}]/;
    return;
}

1;
