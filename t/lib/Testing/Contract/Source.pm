package Testing::Contract::Source;
use strict;
use warnings;

# A source of a class of its own, with its own idea of who may call, of the headers and of the handler.

use parent 'Plack::App::EventSource';

sub call {
    my ($self, $env) = @_;
    return [403, [], ['Not for you']] if $env->{HTTP_X_STRANGER};
    return $self->SUPER::call($env);
}

sub handler_cb {
    my $self = shift;
    return sub {
        my $conn = shift;
        $conn->push($self->{greeting});
        $conn->close;
        return;
    };
}

sub headers { return ['X-Class' => ref $_[0]] }

1;
