package Testing::Application;
use strict;
use warnings;

# An application of the tests begins with this: strict, warnings, and the pieces of its routes.
#
#   use Testing::Application qw(answer answers with_worker);
#
#   builder {
#       enable \&with_worker;
#       mount '/publish' => answers(sub { my %query = @_; return $hub->publish($query{channel}, $query{data}) });
#       mount '/pid'     => sub { return answer($$) };
#   };

use Exporter      ();
use Plack::Util   ();
use Testing::Fork qw(in_child);

our @EXPORT_OK = qw(answer answers filtered id_or_error in_job parameter query report tag with_worker);

sub import {
    $_->import for qw(strict warnings);
    goto &Exporter::import;
}

# Returns a response of text.
sub answer {
    my $text = shift;
    return [200, ['Content-Type' => 'text/plain', 'Content-Length' => length $text], [$text]];
}

# Returns an application that runs callbacks, and answers with what a function returns for the query of a request.
sub answers {
    my $code = shift;
    return sub {
        my $env = shift;
        EventSource::XS->dispatch;
        return answer($code->(query($env)));
    };
}

# A middleware with a filter of the body that changes nothing: its presence prevents native streams.
sub filtered {
    my $app    = shift;
    my $filter = sub { return $_[0] };
    return sub {
        return Plack::Util::response_cb($app->($_[0]), sub { return $filter });
    };
}

# Returns what a function returns, the id of an event; or error, and the code of the exception.
sub id_or_error {
    my $publish = shift;
    return eval { $publish->() } // 'error ' . (ref $@ ? $@->code : $@);
}

# Returns what a function returns in a forked process, which reports through a pipe; undef if it is not forked or ends before.
sub in_job {
    my $ended  = eval { in_child(shift) } or return undef;
    my $answer = $ended->();
    return length $answer ? $answer : undef;
}

# Returns a parameter of a query.
sub parameter {
    my ($env, $name) = @_;
    my %query = query($env);
    return $query{$name};
}

# Returns the names and values of a query.
sub query {
    my $env = shift;
    return map { utf8::decode($_); $_ }
        map { s/%([0-9A-Fa-f]{2})/chr hex $1/ger } map { /\A([^=]+)=(.*)\z/s ? ($1, $2) : () }
        split /&/, $env->{QUERY_STRING} // '';
}

# Writes a line into the journal of the test, under a tag or that of a request.
sub report {
    my ($of, $text) = @_;
    require Testing::Journal;
    return Testing::Journal->open($ENV{TESTING_JOURNAL})->write(ref $of ? tag($of) : $of, $text);
}

# Returns the tag of a request.
sub tag { return parameter($_[0], 'tag') // 'none' }

# A middleware that adds the id of the process to each response.
sub with_worker {
    my $app = shift;
    return sub {
        return Plack::Util::response_cb($app->($_[0]), sub { push @{$_[0][1]}, 'X-Worker', $$; return });
    };
}

1;
