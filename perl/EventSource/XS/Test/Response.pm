package EventSource::XS::Test::Response;
use strict;
use warnings;

# Parses an HTTP response incrementally: its head, and the bytes of its body without the framing.

use EventSource::XS::Client::Framing;
use HTTP::Response;

sub new {
    my ($class, %option) = @_;
    return bless {method => $option{method} || 'GET', buffer => '', is_ended => !!0, is_complete => !!0}, $class;
}

# Public methods

sub break_off {
    my $self = shift;
    $self->{is_ended}    = !!1;
    $self->{is_complete} = !!0;
    return;
}

sub finish {
    my $self = shift;
    return if $self->{is_ended};
    $self->{is_ended}    = !!1;
    $self->{is_complete} = $self->{framing} && $self->{framing}->ends_with_connection;
    return;
}

sub head { return $_[0]{head} }

sub is_complete { return !!$_[0]{is_complete} }

sub is_ended { return $_[0]{is_ended} }

sub problem { return $_[0]{problem} }

sub take {
    my ($self, $bytes) = @_;
    $self->{buffer} .= $bytes;
    return '' if $self->{is_ended} || !$self->{head} && !$self->_take_head;
    my ($body, $problem) = $self->{framing}->take(\$self->{buffer});
    if    (defined $problem)              { $self->_break($problem) }
    elsif ($self->{framing}->is_complete) { $self->_complete }
    return $body;
}

# Private methods

sub _break {
    my ($self, $problem) = @_;
    $self->{problem}  = $problem;
    $self->{is_ended} = !!1;
    return;
}

sub _complete {
    my $self = shift;
    $self->{is_ended} = $self->{is_complete} = !!1;
    return;
}

# Returns true when the head is complete and a body follows. Informational responses (100 Continue) are skipped.
sub _take_head {
    my $self = shift;
    $self->{buffer} =~ s/\A(.*?\r?\n)\r?\n//s or return !!0;
    my $text = $1;
    if ($text !~ m{\AHTTP/1\.[0-9] [1-9][0-9][0-9]\b}) {
        $self->_break('not an HTTP response: ' . substr $text, 0, 60);
        return !!0;
    }
    my $head = HTTP::Response->parse($text);
    return $self->_take_head if $head->code =~ /\A1/;
    $self->{head} = $head;
    my %framed_by = map { $_ => scalar $head->header($_) } qw(content-length transfer-encoding);
    $self->{framing} = EventSource::XS::Client::Framing->new(\%framed_by);
    $self->_complete if $self->{method} eq 'HEAD' || $head->code =~ /\A(?:204|304)\z/;
    return !$self->{is_ended};
}

1;
