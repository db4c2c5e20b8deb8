package Testing;
use strict;
use warnings;
use utf8;

# What each test file begins with: strict, warnings, utf8, Test::More, whose output is UTF-8, the functions of
# Testing::Deadline, since tests wait for conditions, and new_folder, a temporary folder that is removed with its object.
#
#   use lib 't/lib';
#   use Testing;
#   use Testing qw(native);             # skips the file on a system without native streams and hubs
#   use Testing qw(named_hubs);         # ... or without eventsource-hub
#   use Testing qw(Machine Redis);      # loads these classes of t/lib/Testing, and skips the file without what they need
#   use Testing qw(Server=Starman);     # the same for a class whose needs depend on an argument
#   Testing->need('native');            # skips the rest of a subtest
#   Testing->has_named_hubs             # true with eventsource-hub

use parent 'Exporter';
use Test::More;
use Testing::Deadline ();

our @EXPORT_OK = qw(new_folder);

# A test has an environment of its own: what the developer's shell tells the software, servers and frameworks does not reach it.
delete @ENV{
    grep { /\A(?:EVENTSOURCE_(?!XS_|ORIGINALS)|EVENTSOURCE_XS_DEBUG|PLACK_|MOJO_|DANCER_|CATALYST_)/ }
        keys %ENV
};

# Testers of CPAN have no tools of ours.
delete $ENV{EVENTSOURCE_XS_FULL} if $ENV{AUTOMATED_TESTING};

binmode $_, ':encoding(UTF-8)' for map { Test::More->builder->$_ } qw(output failure_output todo_output);

sub import {
    my ($class, @needs) = @_;
    $_->import for qw(strict warnings utf8);
    Test::More->export_to_level(1);
    Testing::Deadline->export_to_level(1, undef, qw($DEADLINE eventually_ok wait_until));
    $class->export_to_level(1, undef, 'new_folder');
    $class->need($_) for @needs;
    return;
}

sub need {
    my ($class, $need) = @_;
    return _need_class(split /=/, $need) if $need =~ /\A[A-Z]/;
    require EventSource::XS;
    plan skip_all => 'there are no native streams and hubs on this system' if !EventSource::XS->can('_next_end');
    return if $need ne 'named_hubs';
    return $class->has_named_hubs || plan skip_all => 'eventsource-hub is not built here';
}

sub new_folder {
    require File::Temp;
    return File::Temp->newdir;
}

sub _need_class {
    my ($name, @argument) = @_;
    my $class = "Testing::$name";
    require $class =~ s{::}{/}gr . '.pm';    ## no critic (RequireBarewordIncludes)
    return $class->require_or_skip_all(@argument);
}

sub has_named_hubs {
    require EventSource::Hub::Process;
    return scalar eval { EventSource::Hub::Process->program };
}

1;
