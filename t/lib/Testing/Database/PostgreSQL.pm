package Testing::Database::PostgreSQL;
use Testing;

# A PostgreSQL: see Testing::Database::Server.
#
#   $database->create_database('old', 'SQL_ASCII');    # with that encoding, for the next connections

use parent 'Testing::Database::Server';
use IPC::SysV qw(IPC_RMID);

# A server that is killed leaves a segment of shared memory behind, which its next start or nobody removes.
sub ask_to_end {
    my $self = shift;
    $self->SUPER::ask_to_end;
    open my $file, '<', $self->file('data/postmaster.pid') or return;
    my ($segment) = map { /\A\s*[0-9]+\s+([0-9]+)\s*\z/ } readline $file;
    shmctl $segment, IPC_RMID, 0 if defined $segment;
    return;
}

sub create_database {
    my ($self, $name, $encoding) = @_;
    $self->connect->do("CREATE DATABASE $name ENCODING '$encoding' TEMPLATE template0");
    $self->{dbname} = $name;
    return;
}

sub creation_of { return "CREATE ROLE $_[1] LOGIN PASSWORD '$_[1]'" }

sub driver { return 'Pg' }

sub dsn { return 'dbi:Pg:dbname=' . ($_[0]{dbname} || 'postgres') . ';host=127.0.0.1;port=' . $_[0]->port }

sub programs { return qw(postgres initdb) }

sub regular_end { return 'INT' }

# Memory that is shared stands in files of its folder, which is removed.
sub settings {
    my $self = shift;
    return (
        dynamic_shared_memory_type => 'mmap',
        fsync                      => 'off',
        listen_addresses           => '127.0.0.1',
        port                       => $self->port,
        shared_buffers             => '16MB',
        unix_socket_directories    => $self->folder,
    );
}

sub first_arguments { return ('-D', $_[0]->file('data')) }

sub setup {
    my ($self, $data, $input) = @_;
    my @options = qw(--auth=scram-sha-256 --encoding=UTF8 --locale=C --no-instructions --no-sync --wal-segsize=1);
    return ('initdb', @options, '--username=' . $self->user, "--pwfile=$input", '-D', $data);
}

sub setup_input { return $_[0]->password . "\n" }

1;
