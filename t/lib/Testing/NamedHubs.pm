package Testing::NamedHubs;
use Testing;

# Runs a test of hubs a second time: each hub that it makes is a named hub. The settings that a test
# gives come first, so a named hub already keeps it.
#
#   exec $^X, Testing::NamedHubs->again('t/hub/resume.t');
#   exec $^X, Testing::NamedHubs->again('t/hub/state.t', 'file');    # each with a store in a file
#
# A test says with is_on where its expectations differ. These do not run again:
#
#   forks.t       each child has a hub of its own there; handed_over.t and process.t test forks with a name
#   memory.t      the memory that is measured is that of this process
#   million.t, servers.t: what they test does not depend on where the hub is; process.t has a server

use File::Temp ();

my ($folder, $store);
my $count = 0;

sub import {
    (my ($class, $file), $store) = @_;
    return if !defined $file;
    Testing->need('named_hubs');
    require EventSource::Hub;
    $folder = File::Temp::tempdir(CLEANUP => 1);    # an object would remove it at the end of a thread
    my $new = EventSource::Hub->can('new');
    no warnings 'redefine';                         ## no critic (TestingAndDebugging::ProhibitNoWarnings)
    *EventSource::Hub::new = sub { @_ = (shift, $class->settings(@_)); goto &$new };    # the caller is the test
    defined(do "./$file") or die $@ || "$file: $!\n";
    return;
}

# The arguments of perl that run a test again.
sub again {
    my ($class, @file_and_store) = @_;
    return ("-M$class=" . join(',', @file_and_store), '-e', 1);
}

# True if each hub is named.
sub is_on { return defined $folder }

# The settings of a hub, with a process if they are complete.
sub settings {
    my ($class, @given) = @_;
    @given = %{$given[0]} if @given == 1 && ref $given[0] eq 'HASH';
    return @given % 2 ? @given : (_process(++$count), @given);
}

sub _process {
    my $number = shift;
    my %all    = (name => "test$number", socket => "$folder/$number.sock", idle_exit => 1, publish_timeout => 20);
    $all{store} = {file => "$folder/$number.db", sync => 'never'} if defined $store;
    return %all;
}

1;
