package Test::EventSource::Response;
use strict;
use warnings;

# An HTTP response that comes in pieces: its head, and the bytes of its body without their framing.

our $VERSION = '0.100';

use HTTP::Response;

sub new {
    my ($class, %option) = @_;
    return bless {method => $option{method} || 'GET', waiting => '', is_ended => !!0, is_complete => !!0, left => 0},
        $class;
}

# Public methods

# It ends here, whatever has come of it.
sub break_off {
    my $self = shift;
    $self->{is_ended}    = !!1;
    $self->{is_complete} = !!0;
    return;
}

# The connection has ended, and so has the response.
sub finish {
    my $self = shift;
    return if $self->{is_ended};
    $self->{is_ended}    = !!1;
    $self->{is_complete} = $self->{head} && !$self->{is_chunked} && !defined $self->{length};
    return;
}

sub head { return $_[0]{head} }

sub is_complete { return !!$_[0]{is_complete} }

sub is_ended { return $_[0]{is_ended} }

# What is wrong with it, if anything is.
sub trouble { return $_[0]{trouble} }

# Takes the next bytes of the connection; returns what they are of the body.
sub take {
    my ($self, $bytes) = @_;
    $self->{waiting} .= $bytes;
    return ''                                            if $self->{is_ended} || !$self->{head} && !$self->_take_head;
    return $self->_take_chunks                           if $self->{is_chunked};
    return $self->_take_waiting(length $self->{waiting}) if !defined $self->{length};
    my $body = $self->_take_waiting($self->{length});
    $self->{length} -= length $body;
    $self->_complete if !$self->{length};
    return $body;
}

# Private methods

sub _break {
    my ($self, $trouble) = @_;
    $self->{trouble}  = $trouble;
    $self->{is_ended} = !!1;
    return;
}

sub _complete {
    my $self = shift;
    $self->{is_ended} = $self->{is_complete} = !!1;
    return;
}

sub _take_chunks {
    my $self = shift;
    my $body = '';
    while (!$self->{is_ended}) {
        if ($self->{left}) {
            my $part = $self->_take_waiting($self->{left});
            return $body if !length $part;
            $body .= $part;
            $self->{left} -= length $part;
            $self->{is_between} = !!1;
            next;
        }
        $self->{waiting} =~ s/\A([^\n]*?)\r?\n// or last;
        my $line = $1;
        if    ($self->{is_last})    { $self->_complete if !length $line }    # what else comes is a trailer
        elsif ($self->{is_between}) { $self->{is_between} = !!0; $self->_break('a chunk does not end') if length $line }
        elsif ($line !~ /\A([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?\z/) { $self->_break("this is no chunk: $line") }
        else { $self->{left} = hex $1; $self->{is_last} = !$self->{left} }
    }
    return $body;
}

# True when the head is there. What informs in advance (100 Continue) is passed over.
sub _take_head {
    my $self = shift;
    $self->{waiting} =~ s/\A(.*?\r?\n)\r?\n//s or return !!0;
    my $text = $1;
    if ($text !~ m{\AHTTP/1\.[0-9] [1-9][0-9][0-9]\b}) {
        $self->_break('this is no response: ' . substr $text, 0, 60);
        return !!0;
    }
    my $head = HTTP::Response->parse($text);
    return $self->_take_head if $head->code =~ /\A1/;
    $self->{head}       = $head;
    $self->{is_chunked} = ($head->header('Transfer-Encoding') || '') =~ /\bchunked\s*\z/i;
    my $length = $head->header('Content-Length');
    $self->{length} = $length if !$self->{is_chunked} && defined $length && $length =~ /\A[0-9]+\z/;
    $self->_complete if $self->{method} eq 'HEAD' || $head->code =~ /\A(?:204|304)\z/;
    return !$self->{is_ended};
}

sub _take_waiting {
    my ($self, $most) = @_;
    return substr $self->{waiting}, 0, $most, '';
}

1;
__END__

=encoding utf8

=head1 NAME

Test::EventSource::Response - An HTTP response that comes in pieces

=head1 SYNOPSIS

    use Test::EventSource::Response;

    my $response = Test::EventSource::Response->new;
    my $body     = $response->take("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    $body .= $response->take("lo\r\n0\r\n\r\n");

=head1 DESCRIPTION

Takes the bytes of a connection as they come and gives those of the body: chunked, with a length, or up to the end of the
connection.

=head1 METHODS

=head2 new

    my $response = Test::EventSource::Response->new(method => 'GET');

C<method> is that of the request: what answers HEAD has no body.

=head2 break_off

    $response->break_off;

It ends, and is not complete.

=head2 finish

    $response->finish;

The connection has ended.

=head2 head

    my $head = $response->head;

The head, an L<HTTP::Response>; C<undef> until it has come.

=head2 is_complete, is_ended

    my $whole = $response->is_complete;

Whether it has ended as its framing says; whether it has ended.

=head2 take

    my $body = $response->take($bytes);

Takes bytes, and returns what they are of the body.

=head2 trouble

    my $why = $response->trouble;

Why the bytes are no response, if they are none.

=head1 COPYRIGHT AND LICENSE

Copyright 2026 The EventSource-XS contributors.

This library is free software; you can redistribute it and/or modify it under the same terms as Perl itself.

=cut
