package EventSource::XS::Test::Response;
use strict;
use warnings;

# Reads an HTTP response as the client does: its head, and the bytes of its body without the framing. It is not an object of
# EventSource::XS::Client::Transport, of which a new ithread has no copy.

use EventSource::XS::Client::Framing;
use EventSource::XS::Client::Head;
use HTTP::Response;

sub new {
    my ($class, %option) = @_;
    my $reader = EventSource::XS::Client::Head->new($option{method});
    return bless {reader => $reader, buffer => '', is_ended => !!0, is_complete => !!0}, $class;
}

# Public methods

sub break_off { return shift->_end(undef, !!0) }

sub finish {
    my $self = shift;
    return if $self->{is_ended};
    return $self->_end(undef, $self->{framing} && $self->{framing}->ends_with_connection);
}

sub head { return $_[0]{head} }

sub is_complete { return !!$_[0]{is_complete} }

sub is_ended { return $_[0]{is_ended} }

sub problem { return $_[0]{problem} }

sub take {
    my ($self, $bytes) = @_;
    return '' if $self->{is_ended};
    $self->{buffer} .= $bytes;
    $self->{framing} || $self->_take_head or return '';
    my ($body, $problem) = $self->{framing}->take(\$self->{buffer});
    my $is_complete = $self->{framing}->is_complete;
    $self->_end($problem, $is_complete) if defined $problem || $is_complete;
    return $body;
}

# Private methods

sub _end {
    my ($self, $problem, $is_complete) = @_;
    @$self{qw(is_ended is_complete problem)} = (!!1, $is_complete, $problem);
    return !!0;
}

# Returns true when the head is complete and a body follows.
sub _take_head {
    my $self = shift;
    my ($head, $problem) = $self->{reader}->take(\$self->{buffer});
    return $self->_end($problem, !!0) if defined $problem;
    return !!0                        if !$head;
    $self->{head} = HTTP::Response->new(@$head{qw(status reason)}, [map { @$_ } @{$head->{fields}}]);
    $self->{head}->protocol("HTTP/$head->{version}");
    return $self->_end(undef, !!1) if !$head->{has_body};
    return $self->{framing} = EventSource::XS::Client::Framing->new($head->{headers});
}

1;
