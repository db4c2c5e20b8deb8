package Testing::Browser::Program;
use Testing;

# The common part of the browsers: the profile, the tabs, the end. A subclass has these methods:
#
#   command      the command line
#   missing      why it cannot run here; undef if it can
#   greet        makes contact, once it runs
#   open_tab     opens a tab; returns what a Testing::Browser::Tab is to know of it
#   kill_worker  kills the process in which a SharedWorker runs, if there is one
#   ask_in, evaluate_in, open_in, close_in, kill_in    what a tab does: (tab, argument)

use parent 'Testing::Program';
use Testing::Process   qw(processes_like);
use Testing::Developer qw(has_command);
use Testing::Browser::Tab;
use File::Path qw(remove_tree);
use File::Temp ();

# The methods of the first tab.
for my $method (qw(ask complaints evaluate open wait_for)) {
    no strict 'refs';    ## no critic (ProhibitNoStrict)
    *$method = sub { return shift->{tabs}[0]->$method(@_) };
}

# Lets what suspend has stopped run again.
sub continue { kill CONT => -$_[0]->pid; return }

# Opens a tab, and a page in it, if there is a URL.
sub new_tab {
    my ($self, $url) = @_;
    my $tab = Testing::Browser::Tab->new($self, $self->open_tab);
    push @{$self->{tabs}}, $tab;
    $tab->open($url) if defined $url;
    return $tab;
}

sub start {
    my $class = shift;
    my $self  = $class->new($class =~ s/.*:://r);
    $self->{profile} = File::Temp->newdir('browser-XXXXXX', TMPDIR => 1);
    $self->run({map { ($_ => "$self->{profile}") } qw(HOME TMPDIR XDG_CONFIG_HOME XDG_CACHE_HOME)}, $self->command);
    $self->greet;
    $self->new_tab;
    return $self;
}

# Ends it, and removes its profile, to which some of its processes write to the last.
sub stop {
    my $self   = shift;
    my $status = $self->SUPER::stop;
    my $folder = $self->{profile} && $self->{owner} == $$ ? delete $self->{profile} : undef;
    return $status if !$folder;
    local ($?, $!, $@);
    my $profile = $folder->dirname;
    wait_until $DEADLINE, sub {
        my @users = _users($profile);
        remove_tree($profile, {error => \my $ignored});
        return !-d $profile && !@users;
    };
    return $status;
}

# Stops all its processes, as a laptop does that sleeps.
sub suspend { kill STOP => -$_[0]->pid; return }

# The open tabs.
sub tabs { return @{$_[0]{tabs}} }

# For subclasses

# No longer counts a tab.
sub forget {
    my ($self, $tab) = @_;
    @{$self->{tabs}} = grep { $_ != $tab } @{$self->{tabs}};
    return;
}

# The processes with a thread whose name matches.
sub pids_with_thread {
    my ($self, $name) = @_;
    return grep {
        grep { /$name/ }
            _names_of_threads($_)
    } $self->pids;
}

# The first of these programs that there is here.
sub program_of {
    return (grep { has_command($_) } @_)[0];
}

sub _names_of_threads {
    my $pid = shift;
    my @names;
    for my $file (glob "/proc/$pid/task/*/comm") {
        open my $name, '<', $file or next;
        push @names, readline($name) // ();
    }
    return @names;
}

# Kills the processes whose command lines name the profile, and returns their ids: crash handlers are in no group of ours.
sub _users {
    my $profile = shift;
    my @pids    = processes_like(qr/\Q$profile\E/);
    kill KILL => @pids;
    return @pids;
}

1;
